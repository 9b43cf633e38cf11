#!/usr/bin/env python3
"""Puts known defects into copies of stomp_ws.h, one at a time. The simulator must find each defect.

    mutants.py [NAME...]      all defects, or only these

A defect consists of a function's name, a piece of its code, and the replacement. If the piece is
not found, that is a failure: the code has changed, and the defect must be changed, too.
"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "mutants"
SEEDS = 4000
SECONDS = 500

# Each name has (function, old, new), or a list of them.
DEFECTS = {
    # The marks of the outbox, and the age of a session.
    "a full outbox is not reported":
        ("stws_p_due_locked", " || stws_p_crosses_mark_locked(c)", ""),
    "a full outbox is reported forever":
        ("stws_p_cross_mark", "if (crosses) c->above_high = !c->above_high;", ""),
    "an old session is not replaced":
        ("stws_p_turn_timers", " && c->now >= c->renew_us", " && 0"),
    "a session is called old too early":
        ("stws_p_session_end", "c->now + (ms - stws_p_random_up_to(c, ms / 10)) * STWS_P_US",
         "c->now + ms"),
    # From one session to the next.
    "subscriptions are not made again":
        ("stws_p_clean_up_session", "stws_p_subs_prepare_resend(&c->s.subs);", ""),
    "the outbox is sent before the subscriptions": [
        ("stws_p_post_outbox_locked", "!stws_p_subs_come_first(&c->s.subs) && ", ""),
        ("stws_p_prepare_output_locked", "if (stws_p_subs_come_first(&s->subs)) stws_p_post_subscriptions_locked(c);\n",
         "if (s->outbox.untaken) stws_p_post_outbox_locked(c, c->now);\n"
         "    if (stws_p_subs_come_first(&s->subs)) stws_p_post_subscriptions_locked(c);\n")],
    "a send overtakes the outbox":
        ("stws_p_submit_locked", " && !c->s.outbox.untaken", ""),
    "a send overtakes the subscriptions":
        ("stws_p_may_send_now", " && !stws_p_subs_come_first(&c->s.subs)", ""),
    "what was sent counts as confirmed":
        ("stws_p_record_taken", "if (!r->confirm) stws_p_record_finish",
         "stws_p_record_finish"),
    "an unconfirmed message is not resent":
        ("stws_p_clean_up_session", "stws_p_outbox_prepare_resend(&c->s);", ""),
    "a receipt confirms the oldest message":
        ("stws_p_outbox_find", "while (r && r->receipt != receipt) r = stws_p_record_linked(s, r->link);",
         "r = receipt ? stws_p_record_next(&s->outbox, NULL) : NULL;\n"
         "    while (r && !stws_p_record_is_unconfirmed(r)) r = stws_p_record_next(&s->outbox, r);"),
    "a confirmed message stays in the outbox":
        ("stws_p_end_receipt", "stws_p_record_finish(&c->s, record);", ""),
    "a refused message counts as confirmed":
        ("stws_p_on_error", "STWS_ERR_BROKER);\n    if (c->error_close_us",
         "STWS_OK);\n    if (c->error_close_us"),
    "the next attempt does not wait":
        ("stws_p_end_connection", "c->now + c->retry_ms * STWS_P_US", "c->now"),
    "Retry-After is ignored":
        ("stws_p_backoff_ms", "return delay > asked ? delay : asked;", "return delay;"),
    "a transaction is not resent from its beginning":
        ("stws_p_record_finish",
         "if (r->tied && !stws_p_ends_transaction(r->frame.command_id)) return;", ""),
    "the receipt of a message in a transaction never ends":
        ("stws_p_record_finish",
         "if (part->confirm) stws_p_receipt_frame_sent(s, part->receipt, r->sent_us);", ";"),
    "the parser keeps half a message of the last session":
        ("stws_p_session_reset", "memset(&s->ws, 0, sizeof s->ws);", ""),
    "half a frame of the last session is written":
        ("stws_p_session_reset", "s->out.begin = s->out.end = 0;", ""),
    # Acknowledgements.
    "the epoch of a message is not checked":
        ("stws_p_acknowledge", "m->epoch != c->s.epoch || ", ""),
    "the epoch is not increased":
        ("stws_p_on_connected", "c->s.epoch++;", ""),
    "an ACK in the outbox survives its session": [
        ("stws_p_outbox_prepare_resend", "if (r->epoch) stws_p_record_enter(s, r, STWS_P_RECORD_DONE);", ""),
        ("stws_p_post_outbox_locked", "int stale = r->epoch && r->epoch != c->s.epoch;",
         "int stale = 0;")],
    "an ACK names the wrong header":
        ("stws_p_compose_ack", 's->version == STWS_STOMP_12 ? "id" : "message-id"', '"message-id"'),
    "a message is dropped if the queue is full":
        ("stws_p_enqueue", "c->held = result == 0 ? STWS_P_HELD_BY_QUEUE : 0;", "c->held = 0;"),
    # Subscriptions.
    "UNSUBSCRIBE is not sent":
        ("stws_unsubscribe", "if (stws_p_server_knows(sub) && ", "if (0 && "),
    "a reused id overtakes its UNSUBSCRIBE":
        ("stws_p_subscribe_locked", "stws_p_sub_enter(&c->s.subs, sub, STWS_P_SUB_WAITS_FOR_ID);", ";"),
    "an id that is in use is accepted again":
        ("stws_subscribe", "if (id && stws_p_id_in_use(&c->s.subs, id)) {", "if (0) {"),
    # Heart-beats and times.
    "the time of a hook keeps a loop busy while a session is replaced":
        ("stws_p_due_locked", "!c->write_error && !c->renewing) stws_p_set_earlier(&first, c->hook_us);",
         "!c->write_error) stws_p_set_earlier(&first, c->hook_us);"),
    "our heart-beat is timed from received data":
        ("stws_p_post_heartbeat", "c->now - c->s.last_out_us", "c->now - c->s.last_in_us"),
    "the server's silence is timed from sent data":
        ("stws_p_check_silence", "c->now - c->s.last_in_us", "c->now - c->s.last_out_us"),
    "the heart-beat grace is not applied":
        ("stws_p_allowed_silence", "c->s.expected_us * c->o.heartbeat_grace / 100",
         "c->s.expected_us"),
    "a wait that ends immediately keeps a dead server alive forever":
        ("stws_p_note_lateness", "if (!c->due_us || !beat", "if (!beat"),
    "a heart-beat is due although output waits":
        ("stws_p_due_locked", "if (s->heartbeat_out_us && can_post)",
         "if (s->heartbeat_out_us)"),
    "connecting has no time limit":
        ("stws_p_turn_resolving", "stws_p_enter_state(c, STWS_CONNECTING, stws_p_time_limit(c, c->o.connect_timeout_ms));",
         "stws_p_enter_state(c, STWS_CONNECTING, STWS_P_NEVER);"),
    "the login has no time limit":
        ("stws_p_turn_upgrading", "c->o.connected_timeout_ms", "0"),
    "the connection is not closed after an ERROR":
        ("stws_p_on_error", "c->error_close_us = c->now + stws_p_ms_to_us(c->o.close_timeout_ms);", ";"),
    "a receipt has no time-out":
        ("stws_p_turn_timers", "stws_p_finish_receipts(&c->s, STWS_P_RECEIPT_SENT, c->now, STWS_ERR_TIMEOUT)",
         "(void)0"),
    "a receipt does not end with its connection":
        ("stws_p_clean_up_session", "stws_p_finish_receipts(&c->s, STWS_P_RECEIPT_SENT, STWS_P_NEVER, STWS_ERR_LOST);", ""),
    "stws_stop has an effect only when connected":
        ("stws_p_turn_asked", "if (STWS_P_LOAD(&c->stop))",
         "if (STWS_P_LOAD(&c->stop) && c->state == STWS_CONNECTED)"),
    "a flush does not wait for confirmations":
        ("stws_p_is_flushed_locked", " && !c->s.unconfirmed", ""),
    # The wire.
    "one masking key is used for many frames":
        ("stws_p_masking_key", "memcpy(key, s->pool + s->pool_left, 4);",
         "memcpy(key, s->pool, 4);"),
    "a message is split within a character":
        ("stws_p_encode_pieces", "if (opcode == STWS_WS_TEXT) piece", "if (0) piece"),
    "max_ws_message is ignored":
        ("stws_p_cut_size", "return asked == STWS_WHOLE ? 0 : asked < 4 ? 4 : asked;", "return 0;"),
    "headers are escaped for a wrong version":
        ("stws_p_encode_frame_locked", "stws_p_encode_head(head, s->version, frame)",
         "stws_p_encode_head(head, STWS_STOMP_12, frame)"),
    "a client that can no longer write waits for room":
        ("stws_p_release_message_now", "STWS_ACK_ON_RETURN) && !c->write_error;", "STWS_ACK_ON_RETURN);"),
    "a ping is not answered":
        ("stws_p_control_frame", "s->pong_due = 1;", ""),
    # Threads.
    "a sleeping thread is not woken":
        ("stws_p_unlock_and_wake", "if (poke) stws_p_write_wake_byte(c->wake[1]);", "(void)poke;"),
    "a flush consumes the wake-up of a loop":
        ("stws_p_flush_not_driving", "stws_p_wake_loop(c);", ""),
    "a send follows our close frame":
        ("stws_p_may_send_now", "!c->close_sent && ", ""),
    "the output buffer moves while it is being written":
        ("stws_p_make_room", "b->busy || ", ""),
    "the output buffer grows while it is being written":
        ("stws_p_grow_output", "b->busy || ", ""),
    "a hook is called with the lock held": [
        ("stws_p_ask_before_subscribe", "stws_p_unlock(c);\n", ""),
        ("stws_p_ask_before_subscribe", "stws_p_lock(c);\n", "")],
    # Memory and life.
    "a buffer that was replaced is not released":
        ("stws_p_grow_output", "if (b->on_heap) stws_p_release(c, b->data, b->cap);", ""),
    "the input buffer grows without a limit":
        ("stws_p_grow_input", "old_cap > limit / 2 ? limit : old_cap * 2", "old_cap * 64"),
    "a connection outlives its client":
        ("stws_destroy", "stws_p_close_transport(c);", ""),
    "a callback is called after stws_destroy":
        ("stws_destroy", "stws_p_close_transport(c);\n",
         "stws_p_close_transport(c);\n    if (c->o.on_event) { stws_event e; "
         "memset(&e, 0, sizeof e); e.text = \"\"; c->o.on_event(c, &e, c->o.user); }\n"),
    "an event is reported twice":
        ("stws_p_pull_without_frame", "c->disconnected_due = 0;\n",
         "c->disconnected_due = c->failures & 1 && !c->yield, c->yield = 1;\n"),
}


def replace_once(text, old, new):
    """The text with old replaced by new; None if old is not there exactly once.

    Any white space stands for any other, so a line may be broken elsewhere than in old.
    """
    pattern = r"\s+".join(map(re.escape, re.split(r"\s+", old)))
    places = list(re.finditer(pattern, text))
    if len(places) != 1:
        return None
    return text[:places[0].start()] + new + text[places[0].end():]


def edit(source, function, old, new):
    """The source with one text in that function replaced; None if it is not there exactly once."""
    start = re.search(rf"(?m)^[A-Za-z].*\b{function}\(.*(?:\n {{8,}}.*)*\{{", source)
    if not start:
        return None
    first_line = source[start.start():].split("\n", 1)[0]
    end = source.index("\n" if first_line.endswith("}") else "\n}", start.end())
    body = replace_once(source[start.start():end], old, new)
    return body and source[:start.start()] + body + source[end:]


def build(name, edits):
    """Builds the simulator with a header that has the defect. Returns None if the defect does not
    apply or compile."""
    source = (ROOT / "stomp_ws.h").read_text()
    for function, old, new in edits if isinstance(edits, list) else [edits]:
        source = edit(source, function, old, new)
        if source is None:
            print(f"FAILED {name}: the code to replace is not in {function}")
            return None
    place = OUT / re.sub(r"\W+", "_", name)
    place.mkdir(parents=True, exist_ok=True)
    (place / "stomp_ws.h").write_text(source)
    program = place / "sim"
    command = ["cc", "-O1", "-w", f"-I{place}", "-I.", "-o", program, "tests/sim/sim.c", "-pthread"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode == 0:
        return program
    print(f"FAILED {name}: does not compile\n{made.stderr}")
    return None


def is_found(name, edits):
    """Returns whether the simulator finds the defect."""
    program = build(name, edits)
    if not program:
        return False
    try:
        ran = subprocess.run([program, "--first", "--seeds", str(SEEDS)], capture_output=True,
                             text=True, errors="replace", timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        print(f"FAILED {name}: not found in {SECONDS} s")
        return False
    said = re.search(r"FAILED (seed \d+: .*)", ran.stdout)
    if ran.returncode < 0:
        said = re.match("(.*)", f"it crashes with signal {-ran.returncode}")
    if not said:
        print(f"FAILED {name}: not found in {SEEDS} seeds")
        return False
    print(f"{name}: {said.group(1)[:110]}", flush=True)
    return True


def main():
    unknown = [name for name in sys.argv[1:] if name not in DEFECTS]
    chosen = {name: DEFECTS[name] for name in sys.argv[1:] if name in DEFECTS} or DEFECTS
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda item: is_found(*item), chosen.items()))
    failed = found.count(False) + len(unknown)
    print(f"{found.count(True)} passed, {failed} failed")
    return 1 if failed or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
