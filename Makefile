# stomp_ws.h is one file and needs no build. This Makefile builds and runs the examples and tests.
# What it builds goes to build/. `make help` lists the targets, and `make V=1` shows each command.

.DELETE_ON_ERROR:

CC ?= cc
CFLAGS ?= -O2 -g
LDLIBS ?= -pthread
PREFIX ?= /usr/local
CLANG ?= clang
SANITIZE ?= -fsanitize=address,undefined -fno-sanitize-recover=undefined
Q = $(if $(V),,@)

# make BEARSSL=1: the examples and tools have wss:// (needs libbearssl-dev)
ifdef BEARSSL
override CFLAGS += -DSTOMP_WS_BEARSSL
override LDLIBS += -lbearssl
endif
# make OPENSSL=1: the same by OpenSSL, with TLS 1.3 (needs libssl-dev)
ifdef OPENSSL
override CFLAGS += -DSTOMP_WS_OPENSSL
override LDLIBS += -lssl -lcrypto
endif

WARNINGS := $(shell cat tests/warnings) -Wstrict-prototypes
CORES = $(shell getconf _NPROCESSORS_ONLN)
VERSION = $(shell sed -n 's/^.define STOMP_WS_VERSION "\(.*\)"/\1/p' stomp_ws.h)

# Examples that need a library besides libc. NEEDS_name has the compiler's flags for that library.
# `make examples-embedding` builds and tests these examples; `make` and `make test` leave them out.
WITH_LIBRARIES = libuv glib wss
NEEDS_libuv = $(shell pkg-config --cflags --libs libuv)
NEEDS_glib = $(shell pkg-config --cflags --libs glib-2.0)
NEEDS_wss = -lbearssl

# The programs. A new example, tool, bench or test needs no line here.
EXAMPLES = $(filter-out $(WITH_LIBRARIES),$(basename $(notdir $(wildcard examples/*.c))))
TOOLS = $(basename $(notdir $(wildcard tests/tools/*.c)))
BENCHES = $(basename $(notdir $(wildcard tests/bench/*.c)))
PROGRAMS = $(addprefix build/,$(EXAMPLES) $(TOOLS))
HEADERS = stomp_ws.h $(wildcard examples/*.h tests/*.h tests/*/*.h)

UNIT_TESTS = $(basename $(wildcard tests/unit/test_*.c))
FAULT_TESTS = $(basename $(wildcard tests/fault/test_*.c))
VECTOR_TEST = $(basename $(wildcard tests/conformance/run_vectors.c))
TESTS = $(UNIT_TESTS) $(FAULT_TESTS)
THREADED_TESTS = $(basename $(shell grep -lE 'pthread_create|stws_start' $(addsuffix .c,$(TESTS))))

.PHONY: all benches help demo demo-web test test-programs check check-rest bare bench bench-quick \
    charts bench-instructions bench-many bench-micro size fuzz fuzz-replay fuzz-minimise tls proxy tsan \
    valgrind interop deploy autobahn web lint format cover install clean bench-tls examples-embedding \
    packaging docs gdb-minimal picture sim sim-mutants mutants matrix soak sanitize release FORCE

# Set below for some targets. Empty here, so that the environment cannot set them.
LEVEL =
DEFINES =

all: $(PROGRAMS) ## build the examples and tools (the default)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' Makefile

# The header's implementation is compiled once, and the examples are linked with it. They get only the
# declarations: with STOMP_WS_IMPLEMENTED the header leaves out its implementation.
$(EXAMPLES:%=build/%): build/%: examples/%.c build/implementation.o stomp_ws.h
	@echo 'cc $@'
	$(Q)$(CC) $(CFLAGS) $(WARNINGS) -DSTOMP_WS_IMPLEMENTED -I. -o $@ $< build/implementation.o \
	    $(LDFLAGS) $(LDLIBS)

build/implementation.o: tests/implementation.c $(HEADERS) build/flags
	@echo 'cc $@'
	$(Q)$(CC) $(CFLAGS) $(WARNINGS) -I. -c -o $@ $<

# A tool and a bench have the implementation in their own file. A tool may use internal functions, and
# a bench is to be optimised as one file.
benches: $(BENCHES:%=build/%) ## build the programs of `make bench`
vpath %.c tests/tools tests/bench
$(addprefix build/,$(TOOLS) $(BENCHES)): build/%: %.c $(HEADERS) build/flags
	@echo 'cc $@'
	$(Q)$(CC) $(CFLAGS) $(WARNINGS) -I. -o $@ $< $(LDFLAGS) $(LDLIBS)

build/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) $(WARNINGS) $(LDFLAGS) $(LDLIBS)' | cmp -s - $@ || \
	    echo '$(CC) $(CFLAGS) $(WARNINGS) $(LDFLAGS) $(LDLIBS)' >$@

demo: $(addprefix build/,minimal mini_broker stomp_cat) ## a broker and two clients, in seconds
	@sh tests/demo.sh build

# ---- tests: build/FLAVOUR/tests/unit/test_x is tests/unit/test_x.c, built with FLAGS_FLAVOUR ----

# Tests without an implementation in their own file are linked with the one that is built for the
# flavour.
LINKED = $(basename $(shell grep -L '^.define STOMP_WS_IMPLEMENTATION' $(addsuffix .c,$(TESTS) $(VECTOR_TEST))))

# Where a test has sanitizers, and in the simulator, the assertions of stomp_ws.h are on.
ASSERTS = -include tests/asserts.h

FLAGS_asan = -O1 -g -fno-omit-frame-pointer $(SANITIZE_HERE) $(ASSERTS)
FLAGS_tsan = -O1 -g -fsanitize=thread $(ASSERTS)
FLAGS_plain = -O1 -g
FLAGS_sim = -O2 -g $(ASSERTS)
FLAGS_cover = -O0 -g --coverage -fprofile-update=atomic # or threads lose counts: gcov sees negative ones
FLAGS_bearssl = $(FLAGS_asan) -DSTOMP_WS_BEARSSL
# What gcc's sanitizers have not. Of clang's integer checks those are left out that forbid what C
# defines: unsigned numbers that go round, which is what SHA-1 is made of.
FLAGS_ubsan = -O1 -g -fsanitize=undefined,integer,implicit-conversion,nullability,local-bounds \
    -fno-sanitize=unsigned-integer-overflow,unsigned-shift-base -fno-sanitize-recover=all $(ASSERTS)
FLAGS_msan = -O1 -g -fno-omit-frame-pointer -fsanitize=memory -fsanitize-memory-track-origins \
    -fno-sanitize-recover=all $(ASSERTS)
FLAGS_bearssl_plain = $(FLAGS_plain) -DSTOMP_WS_BEARSSL
FLAGS_bearssl_tsan = $(FLAGS_tsan) -DSTOMP_WS_BEARSSL
FLAGS_openssl = $(FLAGS_asan) -DSTOMP_WS_OPENSSL
FLAGS_openssl_plain = $(FLAGS_plain) -DSTOMP_WS_OPENSSL
FLAGS_openssl_tsan = $(FLAGS_tsan) -DSTOMP_WS_OPENSSL

# SANITIZE, or nothing if the compiler cannot build and run a program with it. The compiler is asked
# once, and only if the value is used.
SANITIZE_HERE = $(eval SANITIZE_HERE := \
    $$(shell CC='$(CC)' sh tests/sanitizers.sh flags $(SANITIZE)))$(SANITIZE_HERE)

# With these sanitizers a test is compiled with -O0, because optimising it takes longer than it saves.
# The implementation that it is linked with is optimised.
$(foreach name,asan ubsan msan,$(addprefix build/$(name)/,$(TESTS) $(VECTOR_TEST))): LEVEL = -O0

# A test that no RUN() runs is an unused function, and so an error.
UNUSED = -Werror=unused-function

# The file `flags` changes if the compiler or its flags have changed, and then the programs are built
# again. This rule also reports a compiler that cannot use the flags.
define flavour
build/$(1)/%: %.c $$(HEADERS) build/$(1)/flags
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(WARNINGS) $$(UNUSED) $$(FLAGS_$(1)) $$(LEVEL) $$(DEFINES) -I. -o $$@ $$< \
	    $$(filter %.o,$$^) $$(LDFLAGS) $$(LDLIBS)

build/$(1)/%.o: %.c $$(HEADERS) build/$(1)/flags
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(WARNINGS) $$(FLAGS_$(1)) -I. -c -o $$@ $$<

$(EXAMPLES:%=build/$(1)/examples/%): DEFINES = -DSTOMP_WS_IMPLEMENTED
$(addprefix build/$(1)/,$(LINKED) $(EXAMPLES:%=examples/%)): build/$(1)/tests/implementation.o

build/$(1)/flags: FORCE
	@mkdir -p $$(@D)
	@echo '$$(CC) $$(FLAGS_$(1)) $$(WARNINGS) $$(LDFLAGS)' | cmp -s - $$@ || { \
	    command -v $$(firstword $$(CC)) >/dev/null || { echo '$$(CC) is not installed'; exit 1; }; \
	    echo 'int main(void) { return 0; }' | $$(CC) $$(FLAGS_$(1)) -x c -o $$(@D)/probe - && \
	    $$(@D)/probe || { echo '$$(CC) cannot build or run a program with: $$(FLAGS_$(1))'; \
	        exit 1; }; \
	    rm $$(@D)/probe*; \
	    echo '$$(CC) $$(FLAGS_$(1)) $$(WARNINGS) $$(LDFLAGS)' >$$@; }
endef
$(foreach name,asan tsan plain sim cover ubsan msan bearssl bearssl_plain bearssl_tsan openssl \
    openssl_plain openssl_tsan,\
    $(eval $(call flavour,$(name))))

# These programs include the example.
$(foreach name,asan plain cover ubsan msan,build/$(name)/tests/fault/test_broker) \
    $(foreach name,fuzz asan profile,build/$(name)/tests/fuzz/fuzz_broker): examples/mini_broker.c
$(foreach name,asan plain cover ubsan msan,build/$(name)/tests/fault/test_stomp_cat_memory): \
    examples/stomp_cat.c

# $(call built,FLAVOUR): the test programs. $(call commands,FLAVOUR): the commands that run them.
built = $(addprefix build/$(1)/,$(TESTS) $(VECTOR_TEST))
commands = $(VECTOR_TEST:%='build/$(1)/% tests/conformance') $(addprefix build/$(1)/,$(TESTS))

# The number of jobs is the one that make was given with -j, or the number of cores.
PARALLEL = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(CORES))
JOBS = $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),$(CORES))
IN_POOL = ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
    MINI_BROKER=build/asan/examples/mini_broker STOMP_CAT=build/asan/examples/stomp_cat \
    CC='$(CC)' SANITIZE='$(SANITIZE)' \
    SANITIZE_ASKED='$(filter-out file,$(origin SANITIZE))' \
    JOBS=$(JOBS) TIME_LIMIT=600 sh tests/run.sh

test: ## run the tests that need only a C compiler, make and libc, with ASan and UBSan
	@echo 'This takes about 80 s of CPU time, one minute with two cores. The first third is building.'
	@$(MAKE) --no-print-directory $(PARALLEL) test-programs
	@sh tests/loopback.sh build/asan/examples
	@$(IN_POOL) 'sh tests/sanitizers.sh $(SANITIZE)' 'sh tests/harness.sh build/asan/tests' \
	    'sh tests/compile/run.sh quick' \
	    'sh tests/examples/run.sh build/asan/examples' $(call commands,asan) \
	    'sh tests/stomp_cat.sh build/asan/examples/stomp_cat' \
	    'sh tests/readme.sh build/asan/examples/stomp_cat'

test-programs: ## build the programs that `make test` runs
test-programs: $(call built,asan) $(EXAMPLES:%=build/asan/examples/%)

check: test ## make test, and all installed compilers and standards, installation, building benches
	@$(MAKE) --no-print-directory check-rest

bare: ## run `make demo` and `make test` in a minimal Debian chroot (as root, with mmdebstrap)
	@sh tests/bare/run.sh

check-rest: ## the part of `make check` that is not in `make test`
	@echo 'With gcc, g++, clang and clang++ this takes about 160 s of CPU time, with gcc alone 55 s.'
	@$(MAKE) --no-print-directory $(PARALLEL) all benches
	@$(IN_POOL) 'sh tests/compile/run.sh' 'sh tests/examples/compile.sh --without $(WITH_LIBRARIES)' \
	    'sh tests/examples/cpp_threads.sh $(SANITIZE)' 'sh tests/install.sh'

# With ASan and UBSan; the threads with TSan; some of it under valgrind; and what compilers say.
build/bearssl/% build/bearssl_plain/% build/bearssl_tsan/%: LDLIBS += -lbearssl
build/openssl/% build/openssl_plain/% build/openssl_tsan/%: LDLIBS += -lssl -lcrypto
tls_programs = $(addprefix build/$(1)/,tests/tls/probe examples/stomp_cat) build/$(1)_tsan/tests/tls/threads
tls_probe = build/$(1)_plain/tests/tls/probe
TLS_TESTS = build/bearssl/tests/tls/test_der
tls: $(foreach name,bearssl openssl,$(call tls_programs,$(name)) $(call tls_probe,$(name))) $(TLS_TESTS)
tls: ## wss:// by BearSSL and by OpenSSL (libbearssl-dev, libssl-dev, openssl, valgrind)
	@TIME_LIMIT=900 TSAN_OPTIONS=halt_on_error=1 sh tests/run.sh $(TLS_TESTS) \
	    'python3 tests/tls/run.py openssl-1.3 $(call tls_programs,openssl)' \
	    $(foreach name,bearssl openssl,'python3 tests/tls/run.py $(name) $(call tls_programs,$(name))' \
	        'python3 tests/tls/run.py $(name) --valgrind $(call tls_probe,$(name))') \
	    'sh tests/tls/compile.sh'

build/bench_tls: tests/tls/bench.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(WARNINGS) -I. -o $@ $< $(LDFLAGS) -lbearssl $(LDLIBS)

bench-tls: build/bench_tls ## the CPU time of wss:// beside that of BearSSL alone
	@python3 tests/tls/bench.py $<

PROXY_CLIENTS = build/bearssl/examples/stomp_cat build/openssl/examples/stomp_cat
proxy: $(PROXY_CLIENTS) build/bearssl/examples/mini_broker ## through tinyproxy and microsocks (as root: installs them), ws:// and wss://
	sh tests/proxy/install.sh
	@TIME_LIMIT=300 sh tests/run.sh \
	    $(PROXY_CLIENTS:%='python3 tests/proxy/run.py % build/bearssl/examples/mini_broker')

FUZZ_CALLS = tests/fuzz/fuzz_calls
tsan: build/mini_broker build/stomp_cat $(addprefix build/tsan/,$(THREADED_TESTS) $(FUZZ_CALLS)) ## tests that start threads, with TSan
	@TSAN_OPTIONS=halt_on_error=1 TIME_LIMIT=400 sh tests/run.sh \
	    $(addprefix build/tsan/,$(THREADED_TESTS)) \
	    'build/tsan/$(FUZZ_CALLS) $(wildcard tests/fuzz/corpus/calls/[0-1g-z]*)' \
	    'sh tests/examples/cpp_threads.sh -fsanitize=thread'

build/ubsan/% build/msan/%: CC = $(CLANG)
sanitize: build/mini_broker build/stomp_cat $(call built,ubsan) $(call built,msan) ## the tests with clang's UBSan and MSan
	@UBSAN_OPTIONS=print_stacktrace=1 JOBS=$(CORES) TIME_LIMIT=600 \
	    sh tests/run.sh $(call commands,ubsan) $(call commands,msan)

valgrind: build/mini_broker build/stomp_cat $(call built,plain) ## the tests under valgrind's memcheck
	@UNDER='valgrind -q --error-exitcode=99 --leak-check=full' JOBS=$(CORES) \
	    TIME_LIMIT=600 sh tests/run.sh $(call commands,plain)

# Stories of clients, brokers and a network that fails, each from a seed: the first of them with the
# sanitizers, too. A failing seed prints itself.
SEEDS ?= 20000
FROM ?= 1
SIM = build/sim/tests/sim/sim
sim: $(SIM) $(SIM:build/sim/%=build/asan/%) ## SEEDS simulated stories: make sim SEEDS=20000 FROM=1
	@echo 'With ASan and UBSan:'
	@$(SIM:build/sim/%=build/asan/%) --from $(FROM) --seeds 2000
	@echo 'As fast as it goes:'
	@$(SIM) --from $(FROM) --seeds $(SEEDS)

sim-mutants: ## defects put into copies of the header: the simulator finds each
	@python3 tests/sim/mutants.py

mutants: ## defects put into copies of the header: another test fails for each (takes an hour)
	@python3 tests/mutants/run.py

# The fuzz targets, three times: build/fuzz with libFuzzer, build/asan with a main of their own that
# replays the corpora, build/profile to see what these cover. clang has libFuzzer, gcc has not.
T ?= 60
FUZZ_TARGETS = $(basename $(wildcard tests/fuzz/fuzz_*.c))
FLAGS_fuzz = -O1 -g -fno-omit-frame-pointer -DFUZZ_LIBFUZZER -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=undefined $(ASSERTS)
FLAGS_profile = -O0 -g -fprofile-instr-generate -fcoverage-mapping

build/fuzz/%: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(CLANG) $(WARNINGS) $(FLAGS_fuzz) -I. -o $@ $< $(LDLIBS)

build/profile/%: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(CLANG) $(WARNINGS) $(FLAGS_profile) -I. -o $@ $< $(LDLIBS)

$(foreach name,fuzz asan profile,build/$(name)/tests/fuzz/fuzz_pem build/$(name)/tests/fuzz/fuzz_tls): \
    LDLIBS += -lbearssl

fuzz: $(addprefix build/fuzz/,$(FUZZ_TARGETS)) ## each fuzz target for T seconds, two at a time
	@sh tests/fuzz/run.sh fuzz $(T)

fuzz-replay: $(addprefix build/asan/,$(FUZZ_TARGETS)) $(addprefix build/profile/,$(FUZZ_TARGETS))
fuzz-replay: ## the fuzz corpora with ASan and UBSan, and the coverage of the parsers by them
	@sh tests/fuzz/run.sh replay

fuzz-minimise: $(addprefix build/fuzz/,$(FUZZ_TARGETS)) ## put what fuzzing found into the corpora
	@sh tests/fuzz/run.sh minimise

# zig has the C libraries of other systems; the compilers and emulators of Debian are in .ci/run.
build/venv-matrix/done: tests/matrix/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q -r $<
	@touch $@

matrix: build/venv-matrix/done ## other systems, processors, C libraries: compiled, and run by qemu
	@python3 tests/matrix/run.py

interop: all ## against Spring, RabbitMQ, ActiveMQ, Artemis (as root: it installs them)
	sh tests/interop/install.sh
	@echo 'The brokers are built and started now, which takes some minutes.'
	@sh tests/interop/run.sh

soak: ## brokers killed and the network disturbed under load: make soak T=120 (as root, installs)
	sh tests/interop/install.sh
	sh tests/soak/install.sh
	@python3 tests/soak/run.py $(T)

build/bearssl/tests/deploy/load: build/bearssl/tests/implementation.o
build/openssl/tests/deploy/load: build/openssl/tests/implementation.o
DEPLOY_PROGRAMS = build/bearssl/examples/mini_broker \
    $(foreach name,bearssl openssl,$(addprefix build/$(name)/,examples/stomp_cat tests/deploy/load))
deploy: ## behind proxies that reload, on a RabbitMQ cluster, with Spring Security, ... (as root: installs them)
	sh tests/interop/install.sh
	sh tests/deploy/install.sh
	@$(MAKE) --no-print-directory $(PARALLEL) $(DEPLOY_PROGRAMS)
	@sh tests/deploy/run.sh

AUTOBAHN_CLIENT = build/asan/tests/tools/autobahn_client
autobahn: $(AUTOBAHN_CLIENT) ## the Autobahn WebSocket cases, from PyPI, with ASan and UBSan
	@ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99 TIME_LIMIT=600 \
	    sh tests/run.sh 'python3 tests/autobahn/test_wire.py' \
	        'python3 tests/autobahn/run.py --strict --client $(AUTOBAHN_CLIENT)'

web: $(addprefix build/,mini_broker stomp_cat) ## the web page in Chromium (as root: installs it)
	sh tests/web/install.sh
	@TIME_LIMIT=400 sh tests/run.sh 'node tests/web/test_web.mjs'

examples-embedding: build/mini_broker ## examples for event loops and TLS (libuv, GLib, BearSSL)
	@TIME_LIMIT=300 sh tests/run.sh \
	    $(foreach name,$(WITH_LIBRARIES),'sh tests/examples/embedding.sh $(name) $(NEEDS_$(name))')

demo-web: $(addprefix build/,mini_broker stomp_cat) ## the web page, live (needs npm)
	@sh tests/web/demo.sh

# ---- measuring: aims are printed as met or missed, what could not be measured is a failure ----

# `make bench` runs them all, and ends with one table of aims. ROUNDS=9 takes more rounds.
BENCH = $(addprefix build/,bench_client bench_server bench_raw bench_time)
bench: $(BENCH) $(addprefix build/,bench_count bench_micro many_clients) ## all aims, and nine other clients (as root: installs them)
	@failed=0; rm -rf build/bench/targets; \
	for part in 'sh tests/bench/install.sh' 'python3 tests/bench/run.py --rounds $(or $(ROUNDS),5)' \
	    'python3 tests/bench/instructions.py --full' 'python3 tests/bench/micro.py' \
	    'python3 tests/bench/many.py' 'python3 tests/bench/size.py' \
	    'python3 tests/bench/targets.py'; do \
	    printf '\n%s\n' "$$part"; $$part || failed=1; \
	done; exit $$failed

charts: ## of what `make bench` has left: pictures, numbers and README's section on speed
	@python3 tests/bench/summary.py && build/venv-bench/bin/python tests/bench/chart.py
	@python3 tests/bench/readme.py

bench-quick: $(BENCH) ## the same in a minute, with the clients that are built already
	@python3 tests/bench/run.py --quick

bench-instructions: $(addprefix build/,bench_count bench_server) ## against the recorded counts
	@python3 tests/bench/instructions.py

bench-micro: build/bench_micro ## the codecs alone, beside other libraries (as root: installs them)
	@sh tests/bench/install.sh --micro; python3 tests/bench/micro.py

bench-many: build/many_clients ## 10,000 clients on one thread: memory, connections, messages (needs gdb)
	@python3 tests/bench/many.py

size: ## text, stack and compile time of the header
	@python3 tests/bench/size.py

# ---- the rest ----

lint: ## strict warnings, static analysers, the header's style: no finding at all
	@sh tests/lint.sh

FORMAT = clang-format -i
format: ## clang-format over examples and tests (the tables of the header are set by hand)
	$(FORMAT) $(wildcard examples/*.[ch] examples/*.[ch]pp tests/*.h tests/*/*.[ch] \
	    tests/*/*.cpp)

build/debug/%: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) -Og -g3 $(WARNINGS) -I. -o $@ $< $(LDFLAGS) $(LDLIBS)

picture: $(addprefix build/,minimal mini_broker stomp_cat) ## record the terminal picture of the README
	@python3 -m venv build/venv-picture && build/venv-picture/bin/pip install --quiet \
	    --disable-pip-version-check -r tests/picture/requirements.txt
	@build/venv-picture/bin/python tests/picture/record.py examples/terminal.svg

gdb-minimal: build/debug/minimal build/mini_broker build/stomp_cat ## gdb in a callback, with a broker
	@sh tests/gdb.sh

# Without >>tls, which is another build of the header: gcovr cannot add up the two. The bars are what
# was reached; the aims are 98 and 92.
COVER_FUZZ = $(addprefix build/cover/,$(filter-out %/fuzz_pem %/fuzz_tls %/fuzz_broker,$(FUZZ_TARGETS)))
COVER_LINES = 99
COVER_BRANCHES = 92
cover: build/mini_broker build/stomp_cat $(call built,cover) $(COVER_FUZZ) ## lines and branches that tests and corpora reach, as HTML (needs gcovr)
	@find build/cover -name '*.gcda' -delete
	@TIME_LIMIT=400 sh tests/run.sh $(call commands,cover) \
	    'sh tests/fuzz/corpora.sh build/cover/tests/fuzz' >build/cover/log || \
	    { cat build/cover/log; exit 1; }
	@mkdir -p build/cover/html
	@gcovr --root . --filter stomp_ws.h --html-details build/cover/html/index.html \
	    --print-summary --fail-under-line $(COVER_LINES) --fail-under-branch $(COVER_BRANCHES) \
	    build/cover >build/cover/summary; status=$$?; \
	    awk '{ printf "%s%s", sep, $$0; sep = "; " } END { print "; build/cover/html/index.html" }' \
	        build/cover/summary; \
	    echo 'The bars: $(COVER_LINES) % of lines, $(COVER_BRANCHES) % of branches.'; exit $$status

build/stomp_ws.pc: stomp_ws.h FORCE
	@mkdir -p $(@D)
	@printf '%s\n' "prefix=$(PREFIX)" 'includedir=$${prefix}/include' '' 'Name: stomp_ws' \
	    'Description: STOMP over WebSocket for C, in one header' 'Version: $(VERSION)' \
	    'Cflags: -I"$${includedir}"' 'Libs: -pthread' >$@

build/docs/stomp_ws.3: stomp_ws.h tests/docs/manual.awk tests/docs/man.awk
	@mkdir -p $(@D)
	awk -f tests/docs/manual.awk stomp_ws.h >$@.text
	awk -v date="$$(date +%Y-%m-%d)" -f tests/docs/man.awk $@.text >$@
	rm $@.text

docs: build/docs/stomp_ws.3 ## the manual as HTML, from the header itself, and as stomp_ws(3)
	@sh tests/docs/run.sh

INSTALL_TO = $(DESTDIR)$(PREFIX)
install: build/stomp_cat build/stomp_ws.pc build/docs/stomp_ws.3 ## header, manual, stomp_cat (PREFIX, DESTDIR)
	install -D -m 644 stomp_ws.h "$(INSTALL_TO)/include/stomp_ws.h"
	install -D -m 755 build/stomp_cat "$(INSTALL_TO)/bin/stomp_cat"
	install -D -m 644 build/stomp_ws.pc "$(INSTALL_TO)/share/pkgconfig/stomp_ws.pc"
	install -D -m 644 -t "$(INSTALL_TO)/share/cmake/stomp_ws" \
	    $(wildcard tests/packaging/cmake/*-*.cmake)
	install -D -m 644 build/docs/stomp_ws.3 "$(INSTALL_TO)/share/man/man3/stomp_ws.3"
	install -D -m 644 examples/stomp_cat.1 "$(INSTALL_TO)/share/man/man1/stomp_cat.1"
	install -D -m 644 examples/completion/stomp_cat.bash \
	    "$(INSTALL_TO)/share/bash-completion/completions/stomp_cat"
	install -D -m 644 examples/completion/_stomp_cat \
	    "$(INSTALL_TO)/share/zsh/site-functions/_stomp_cat"

packaging: build/stomp_cat ## pkg-config, CMake, Meson, Conan, vcpkg, clib: from installation to a program
	@TIME_LIMIT=600 sh tests/run.sh 'sh tests/packaging/run.sh'

release: ## whether this tree can be tagged as its version, and by what commands
	@sh tests/release.sh tag

clean: ## remove build/
	rm -rf build
