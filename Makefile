# stomp_ws.h is one file and needs no build. This Makefile builds and runs the examples and tests.
# All output goes to build/. `make help` lists the usual targets, `make help-all` lists all others,
# and `make V=1` shows each command.

.DELETE_ON_ERROR:

CC ?= cc
CFLAGS ?= -O2 -g
LDLIBS ?= -pthread
PREFIX ?= /usr/local
CLANG ?= clang
SANITIZE ?= -fsanitize=address,undefined -fno-sanitize-recover=undefined
Q = $(if $(V),,@)

# make BEARSSL=1 builds examples and tools that support wss:// by BearSSL (needs libbearssl-dev).
ifdef BEARSSL
override CFLAGS += -DSTOMP_WS_BEARSSL
override LDLIBS += -lbearssl
endif
# make OPENSSL=1 builds them with OpenSSL instead, which adds TLS 1.3 (needs libssl-dev).
ifdef OPENSSL
override CFLAGS += -DSTOMP_WS_OPENSSL
override LDLIBS += -lssl -lcrypto
endif

WARNINGS := $(shell cat tests/warnings) -Wstrict-prototypes
CORES = $(shell getconf _NPROCESSORS_ONLN)
VERSION = $(shell sed -n 's/^.define STOMP_WS_VERSION "\(.*\)"/\1/p' stomp_ws.h)

# Examples that need a library besides libc. NEEDS_name contains the compiler's flags for that library.
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

.PHONY: all benches help help-all demo demo-web test test-programs check check-rest bare bench bench-quick \
    charts bench-instructions bench-many bench-micro size fuzz fuzz-replay fuzz-minimise tls proxy tsan \
    valgrind interop deploy autobahn web lint format cover install clean bench-tls examples-embedding \
    packaging docs gdb-minimal picture sim sim-mutants mutants matrix soak sanitize release FORCE

# Set below for some targets. Empty here, so that the environment cannot set them.
LEVEL =
DEFINES =

# Describe each target in its rule: behind "##" for `make help`, behind "#:" for `make help-all`.
define list
awk -v mark=':.*$(1) ' '$$0 ~ "^[a-z-]+" mark { \
        name = text = $$0; sub(/:.*/, "", name); sub(mark, "\n", text); sub(/.*\n/, "", text); \
        count = split(text, words, " "); line = sprintf("make %-18s", name); \
        for (i = 1; i <= count; i++) { \
            if (length(line " " words[i]) > 100) { print line; line = sprintf("%23s", "") } \
            line = line " " words[i]; \
        } \
        print line; \
    }' Makefile
endef

all: $(PROGRAMS) ## build the examples and tools (the default)

help: ## list the usual targets
	@$(call list,##)

help-all: ## list all other targets
	@$(call list,#:)

# The header's implementation is compiled once, and the examples are linked with it. They get only the
# declarations: with STOMP_WS_IMPLEMENTED the header leaves out its implementation.
$(EXAMPLES:%=build/%): build/%: examples/%.c build/implementation.o stomp_ws.h
	@echo 'cc $@'
	$(Q)$(CC) $(CFLAGS) $(WARNINGS) -DSTOMP_WS_IMPLEMENTED -I. -o $@ $< build/implementation.o \
	    $(LDFLAGS) $(LDLIBS)

build/implementation.o: tests/implementation.c $(HEADERS) build/flags
	@echo 'cc $@'
	$(Q)$(CC) $(CFLAGS) $(WARNINGS) -I. -c -o $@ $<

# A tool or a benchmark compiles the implementation in its own file. A tool may use internal functions.
# A benchmark is optimised as one file.
benches: $(BENCHES:%=build/%) #: build the C programs that `make bench` runs
vpath %.c tests/tools tests/bench
$(addprefix build/,$(TOOLS) $(BENCHES)): build/%: %.c $(HEADERS) build/flags
	@echo 'cc $@'
	$(Q)$(CC) $(CFLAGS) $(WARNINGS) -I. -o $@ $< $(LDFLAGS) $(LDLIBS)

build/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) $(WARNINGS) $(LDFLAGS) $(LDLIBS)' | cmp -s - $@ || \
	    echo '$(CC) $(CFLAGS) $(WARNINGS) $(LDFLAGS) $(LDLIBS)' >$@

demo: $(addprefix build/,minimal mini_broker stomp_cat) ## start a broker, a subscriber and a publisher on this machine; takes seconds
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
# Without atomic updates threads lose counts, and gcov then reports negative counts.
FLAGS_cover = -O0 -g --coverage -fprofile-update=atomic
FLAGS_bearssl = $(FLAGS_asan) -DSTOMP_WS_BEARSSL
# Checks of clang that gcc's sanitizers lack. Two of clang's integer checks are off, because they
# report unsigned numbers that wrap around. C defines that, and SHA-1 depends on it.
FLAGS_ubsan = -O1 -g -fsanitize=undefined,integer,implicit-conversion,nullability,local-bounds \
    -fno-sanitize=unsigned-integer-overflow,unsigned-shift-base -fno-sanitize-recover=all $(ASSERTS)
FLAGS_msan = -O1 -g -fno-omit-frame-pointer -fsanitize=memory -fsanitize-memory-track-origins \
    -fno-sanitize-recover=all $(ASSERTS)
FLAGS_bearssl_plain = $(FLAGS_plain) -DSTOMP_WS_BEARSSL
FLAGS_bearssl_tsan = $(FLAGS_tsan) -DSTOMP_WS_BEARSSL
FLAGS_openssl = $(FLAGS_asan) -DSTOMP_WS_OPENSSL
FLAGS_openssl_plain = $(FLAGS_plain) -DSTOMP_WS_OPENSSL
FLAGS_openssl_tsan = $(FLAGS_tsan) -DSTOMP_WS_OPENSSL

# SANITIZE, or empty if the compiler cannot build and run a program with these flags. The compiler is
# tried one time, and only if the value is used.
SANITIZE_HERE = $(eval SANITIZE_HERE := \
    $$(shell CC='$(CC)' sh tests/sanitizers.sh flags $(SANITIZE)))$(SANITIZE_HERE)

# With these sanitizers a test is compiled with -O0, because optimising it takes longer than it saves.
# The implementation that it is linked with is optimised.
$(foreach name,asan ubsan msan,$(addprefix build/$(name)/,$(TESTS) $(VECTOR_TEST))): LEVEL = -O0

# A test function that no RUN() runs is unused. With this flag that is an error.
UNUSED = -Werror=unused-function

# Defines the rules of one flavour. The file `flags` changes if the compiler or its flags change; the
# programs are then built again. The rule for `flags` also reports a compiler that cannot use the flags.
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

# These programs include the source file of an example.
$(foreach name,asan plain cover ubsan msan,build/$(name)/tests/fault/test_broker) \
    $(foreach name,fuzz asan profile,build/$(name)/tests/fuzz/fuzz_broker): examples/mini_broker.c
$(foreach name,asan plain cover ubsan msan,build/$(name)/tests/fault/test_stomp_cat_memory): \
    examples/stomp_cat.c

# $(call built,FLAVOUR) lists the test programs. $(call commands,FLAVOUR) lists the commands that run
# them.
built = $(addprefix build/$(1)/,$(TESTS) $(VECTOR_TEST))
commands = $(VECTOR_TEST:%='build/$(1)/% tests/conformance') $(addprefix build/$(1)/,$(TESTS))

# The number of jobs: the number that was passed to make with -j, or the number of cores.
PARALLEL = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(CORES))
JOBS = $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),$(CORES))
IN_POOL = ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
    MINI_BROKER=build/asan/examples/mini_broker STOMP_CAT=build/asan/examples/stomp_cat \
    CC='$(CC)' SANITIZE='$(SANITIZE)' \
    SANITIZE_ASKED='$(filter-out file,$(origin SANITIZE))' \
    JOBS=$(JOBS) TIME_LIMIT=600 sh tests/run.sh

test: ## run the tests with ASan and UBSan: about 1 minute with two cores; needs a C compiler, make and libc
	@echo 'This takes about 80 s of CPU time, one minute with two cores. The first third is building.'
	@$(MAKE) --no-print-directory $(PARALLEL) test-programs
	@sh tests/loopback.sh build/asan/examples
	@$(IN_POOL) 'sh tests/sanitizers.sh $(SANITIZE)' 'sh tests/harness.sh build/asan/tests' \
	    'sh tests/compile/run.sh quick' \
	    'sh tests/examples/run.sh build/asan/examples' $(call commands,asan) \
	    'sh tests/stomp_cat.sh build/asan/examples/stomp_cat' \
	    'sh tests/readme.sh build/asan/examples/stomp_cat'

test-programs: #: build the programs that `make test` runs
test-programs: $(call built,asan) $(EXAMPLES:%=build/asan/examples/%)

check: test ## run `make test` and `make check-rest`
	@$(MAKE) --no-print-directory check-rest

bare: #: run `make demo`, `make test` and `make install` in minimal Debian chroots; needs root and mmdebstrap
	@sh tests/bare/run.sh

check-rest: #: compile with all installed compilers and standards, install, build the benchmarks: 55 to 160 s of CPU time
	@echo 'With gcc, g++, clang and clang++ this takes about 160 s of CPU time, with gcc alone 55 s.'
	@$(MAKE) --no-print-directory $(PARALLEL) all benches
	@$(IN_POOL) 'sh tests/compile/run.sh' 'sh tests/examples/compile.sh --without $(WITH_LIBRARIES)' \
	    'sh tests/examples/cpp_threads.sh $(SANITIZE)' 'sh tests/install.sh'

# Runs with ASan and UBSan. The threads run with TSan, and some tests run again under valgrind. The
# header is also compiled with each TLS library, with all compilers and standards.
build/bearssl/% build/bearssl_plain/% build/bearssl_tsan/%: LDLIBS += -lbearssl
build/openssl/% build/openssl_plain/% build/openssl_tsan/%: LDLIBS += -lssl -lcrypto
tls_programs = $(addprefix build/$(1)/,tests/tls/probe examples/stomp_cat) build/$(1)_tsan/tests/tls/threads
tls_probe = build/$(1)_plain/tests/tls/probe
TLS_TESTS = build/bearssl/tests/tls/test_der
tls: $(foreach name,bearssl openssl,$(call tls_programs,$(name)) $(call tls_probe,$(name))) $(TLS_TESTS)
tls: #: test wss:// by BearSSL and by OpenSSL; needs libbearssl-dev, libssl-dev, openssl, valgrind, python3
	@TIME_LIMIT=900 TSAN_OPTIONS=halt_on_error=1 sh tests/run.sh $(TLS_TESTS) \
	    'python3 tests/tls/run.py openssl-1.3 $(call tls_programs,openssl)' \
	    $(foreach name,bearssl openssl,'python3 tests/tls/run.py $(name) $(call tls_programs,$(name))' \
	        'python3 tests/tls/run.py $(name) --valgrind $(call tls_probe,$(name))') \
	    'sh tests/tls/compile.sh'

build/bench_tls: tests/tls/bench.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(WARNINGS) -I. -o $@ $< $(LDFLAGS) -lbearssl $(LDLIBS)

bench-tls: build/bench_tls #: measure the CPU time of wss://, compared with BearSSL alone; needs libbearssl-dev, python3
	@python3 tests/tls/bench.py $<

PROXY_CLIENTS = build/bearssl/examples/stomp_cat build/openssl/examples/stomp_cat
proxy: $(PROXY_CLIENTS) build/bearssl/examples/mini_broker #: test ws:// and wss:// through tinyproxy and microsocks; needs root to install them
	sh tests/proxy/install.sh
	@TIME_LIMIT=300 sh tests/run.sh \
	    $(PROXY_CLIENTS:%='python3 tests/proxy/run.py % build/bearssl/examples/mini_broker')

FUZZ_CALLS = tests/fuzz/fuzz_calls
tsan: build/mini_broker build/stomp_cat $(addprefix build/tsan/,$(THREADED_TESTS) $(FUZZ_CALLS)) #: run the tests that start threads, with TSan
	@TSAN_OPTIONS=halt_on_error=1 TIME_LIMIT=400 sh tests/run.sh \
	    $(addprefix build/tsan/,$(THREADED_TESTS)) \
	    'build/tsan/$(FUZZ_CALLS) $(wildcard tests/fuzz/corpus/calls/[0-1g-z]*)' \
	    'sh tests/examples/cpp_threads.sh -fsanitize=thread'

build/ubsan/% build/msan/%: CC = $(CLANG)
sanitize: build/mini_broker build/stomp_cat $(call built,ubsan) $(call built,msan) #: run the tests with clang's UBSan and MSan; needs clang
	@UBSAN_OPTIONS=print_stacktrace=1 JOBS=$(CORES) TIME_LIMIT=600 \
	    sh tests/run.sh $(call commands,ubsan) $(call commands,msan)

valgrind: build/mini_broker build/stomp_cat $(call built,plain) #: run the tests under valgrind's memcheck; needs valgrind
	@UNDER='valgrind -q --error-exitcode=99 --leak-check=full' JOBS=$(CORES) \
	    TIME_LIMIT=600 sh tests/run.sh $(call commands,plain)

# Each seed is one simulated story of clients, brokers and a network that fails. The first 2000 stories
# also run with the sanitizers. If a story fails, its seed is printed.
SEEDS ?= 20000
FROM ?= 1
SIM = build/sim/tests/sim/sim
sim: $(SIM) $(SIM:build/sim/%=build/asan/%) #: run SEEDS simulated stories of clients, brokers and networks: make sim SEEDS=20000 FROM=1
	@echo 'With ASan and UBSan:'
	@$(SIM:build/sim/%=build/asan/%) --from $(FROM) --seeds 2000
	@echo 'Optimised, without sanitizers:'
	@$(SIM) --from $(FROM) --seeds $(SEEDS)

sim-mutants: #: put known defects into copies of the header, and check that the simulator finds each; needs python3
	@python3 tests/sim/mutants.py

mutants: #: put known defects into copies of the header, and check that another test fails for each; takes 1 hour
	@python3 tests/mutants/run.py

# The fuzz targets are built three times. build/fuzz has libFuzzer, which only clang supports. In
# build/asan their own main() replays the corpora. build/profile measures the coverage of the corpora.
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

fuzz: $(addprefix build/fuzz/,$(FUZZ_TARGETS)) #: fuzz each target for T seconds, two targets at a time: make fuzz T=60; needs clang with libFuzzer
	@sh tests/fuzz/run.sh fuzz $(T)

fuzz-replay: $(addprefix build/asan/,$(FUZZ_TARGETS)) $(addprefix build/profile/,$(FUZZ_TARGETS))
fuzz-replay: #: replay the fuzz corpora with ASan and UBSan, and check how much of the parsers they cover; needs clang, llvm
	@sh tests/fuzz/run.sh replay

fuzz-minimise: $(addprefix build/fuzz/,$(FUZZ_TARGETS)) #: add the new inputs that `make fuzz` found to the corpora, and minimise the corpora
	@sh tests/fuzz/run.sh minimise

# zig brings the C libraries of other systems. .ci/run installs Debian's cross compilers and emulators.
build/venv-matrix/done: tests/matrix/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q -r $<
	@touch $@

matrix: build/venv-matrix/done #: compile for other systems, processors and C libraries, and run the tests in qemu; needs the packages in .ci/run and PyPI
	@python3 tests/matrix/run.py

interop: all ## test against Spring, RabbitMQ, ActiveMQ and Artemis; needs root to install them
	sh tests/interop/install.sh
	@echo 'Building and starting the brokers takes some minutes.'
	@sh tests/interop/run.sh

soak: #: kill brokers and disturb the network under load for T seconds: make soak T=120; needs root to install them
	sh tests/interop/install.sh
	sh tests/soak/install.sh
	@python3 tests/soak/run.py $(T)

build/bearssl/tests/deploy/load: build/bearssl/tests/implementation.o
build/openssl/tests/deploy/load: build/openssl/tests/implementation.o
DEPLOY_PROGRAMS = build/bearssl/examples/mini_broker \
    $(foreach name,bearssl openssl,$(addprefix build/$(name)/,examples/stomp_cat tests/deploy/load))
deploy: #: test with proxies that reload, a RabbitMQ cluster, Spring Security and more; needs root to install them
	sh tests/interop/install.sh
	sh tests/deploy/install.sh
	@$(MAKE) --no-print-directory $(PARALLEL) $(DEPLOY_PROGRAMS)
	@sh tests/deploy/run.sh

AUTOBAHN_CLIENT = build/asan/tests/tools/autobahn_client
autobahn: $(AUTOBAHN_CLIENT) #: run the Autobahn WebSocket test cases with ASan and UBSan; needs python3 and PyPI
	@ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99 TIME_LIMIT=600 \
	    sh tests/run.sh 'python3 tests/autobahn/test_wire.py' \
	        'python3 tests/autobahn/run.py --strict --client $(AUTOBAHN_CLIENT)'

web: $(addprefix build/,mini_broker stomp_cat) #: test the web page example in Chromium; needs root to install it
	sh tests/web/install.sh
	@TIME_LIMIT=400 sh tests/run.sh 'node tests/web/test_web.mjs'

examples-embedding: build/mini_broker #: test the examples for libuv, GLib and BearSSL; needs these libraries and pkg-config
	@TIME_LIMIT=300 sh tests/run.sh \
	    $(foreach name,$(WITH_LIBRARIES),'sh tests/examples/embedding.sh $(name) $(NEEDS_$(name))')

demo-web: $(addprefix build/,mini_broker stomp_cat) #: serve the web page example with live notifications until Ctrl-C; needs npm
	@sh tests/web/demo.sh

# ---- measuring: a missed target is only printed, a measurement that failed is a failure ----

# `make bench` runs all measurements and ends with one table of targets. ROUNDS=9 takes more rounds.
BENCH = $(addprefix build/,bench_client bench_server bench_raw bench_time)
bench: $(BENCH) $(addprefix build/,bench_count bench_micro many_clients) ## measure everything, and compare with nine other clients; needs root to install them
	@failed=0; rm -rf build/bench/targets; \
	for part in 'sh tests/bench/install.sh' 'python3 tests/bench/run.py --rounds $(or $(ROUNDS),5)' \
	    'python3 tests/bench/instructions.py --full' 'python3 tests/bench/micro.py' \
	    'python3 tests/bench/many.py' 'python3 tests/bench/size.py' \
	    'python3 tests/bench/targets.py'; do \
	    printf '\n%s\n' "$$part"; $$part || failed=1; \
	done; exit $$failed

charts: ## charts and numbers of tests/bench/README.md and README.md, from the last `make bench`
	@python3 tests/bench/summary.py && build/venv-bench/bin/python tests/bench/chart.py
	@python3 tests/bench/readme.py

bench-quick: $(BENCH) #: compare the speed with the clients that are already built: about 1 minute
	@python3 tests/bench/run.py --quick

bench-instructions: $(addprefix build/,bench_count bench_server) #: compare the numbers of instructions with the recorded numbers; needs valgrind
	@python3 tests/bench/instructions.py

bench-micro: build/bench_micro #: measure the codecs without sockets, compared with other libraries; needs root to install them
	@sh tests/bench/install.sh --micro; python3 tests/bench/micro.py

bench-many: build/many_clients #: measure 10,000 clients on one thread: memory, connections, messages; needs gdb
	@python3 tests/bench/many.py

size: #: measure the code size, stack size and compile time of the header
	@python3 tests/bench/size.py

# ---- the rest ----

lint: ## run compilers with strict warnings, static analysers and style checks; needs clang-tidy, cppcheck, shellcheck
	@sh tests/lint.sh

FORMAT = clang-format -i
format: ## format the C and C++ files of examples and tests (not stomp_ws.h); needs clang-format
	$(FORMAT) $(wildcard examples/*.[ch] examples/*.[ch]pp tests/*.h tests/*/*.[ch] \
	    tests/*/*.cpp)

build/debug/%: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) -Og -g3 $(WARNINGS) -I. -o $@ $< $(LDFLAGS) $(LDLIBS)

picture: $(addprefix build/,minimal mini_broker stomp_cat) #: record the terminal picture of the README; needs python3-venv and PyPI
	@python3 -m venv build/venv-picture && build/venv-picture/bin/pip install --quiet \
	    --disable-pip-version-check -r tests/picture/requirements.txt
	@build/venv-picture/bin/python tests/picture/record.py examples/terminal.svg

gdb-minimal: build/debug/minimal build/mini_broker build/stomp_cat #: stop in a callback of examples/minimal.c, with a broker running; needs gdb
	@sh tests/gdb.sh

# The section >>tls is not measured. It needs another build of the header, and gcovr cannot add up two
# builds. The limits are the coverage that was reached. The project's targets are 98 % and 92 %.
COVER_FUZZ = $(addprefix build/cover/,$(filter-out %/fuzz_pem %/fuzz_tls %/fuzz_broker,$(FUZZ_TARGETS)))
COVER_LINES = 99
COVER_BRANCHES = 92
cover: build/mini_broker build/stomp_cat $(call built,cover) $(COVER_FUZZ) #: measure the lines and branches that tests and fuzz corpora reach, and write HTML; needs gcovr
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
	    echo 'The limits: $(COVER_LINES) % of lines, $(COVER_BRANCHES) % of branches.'; exit $$status

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

docs: build/docs/stomp_ws.3 ## write the header's manual as HTML and as man page stomp_ws(3); needs python3-venv, PyPI and mandoc
	@sh tests/docs/run.sh

INSTALL_TO = $(DESTDIR)$(PREFIX)
install: build/stomp_cat build/stomp_ws.pc build/docs/stomp_ws.3 ## install the header, the manual and stomp_cat: make install PREFIX=/usr/local DESTDIR=
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

packaging: build/stomp_cat #: install by pkg-config, CMake, Meson, Conan, vcpkg and clib, and build a program with each; needs these tools and PyPI
	@TIME_LIMIT=600 sh tests/run.sh 'sh tests/packaging/run.sh'

release: #: check that this tree can be tagged as its version, and print the commands for that
	@sh tests/release.sh tag

clean: ## remove build/
	rm -rf build
