# make          builds the module, build/ngx_http_batch_module.so
# make demo     builds and starts everything, runs and prints a batch of real text
# make serve    runs the same server on 127.0.0.1:8080 (PORT=) until Ctrl-C
# make test     runs every test; make check: only the quick ones
# make asan     builds nginx and the module with sanitizers, in build/asan
# make soak     runs batches while all is killed: MINUTES=10 SEED= FAULTS=
# make cuts     lets each system call fail, or be the last one, and makes
#               CUTS=1000 power cuts of ext4 and of xfs (root)
# make fuzz     runs the libFuzzer targets of src/core, SECONDS=20 each (clang)
# make bench    compares with wrk, client scripts and plain nginx; ROWS="P1 P9",
#               BENCH=--quick or --long
# make verify   checks the models in spec/ exhaustively (spin): ten minutes;
#               HOW=quick: a minute, as in make test; HOW=full: half an hour,
#               4 GB
# make clean    removes build/
#
# CC=clang works; BUILD= names another build directory.  UPSTREAM=host:port
# points demo and serve at an inference server; without it they use a mock.

CC =	gcc
export CC

BUILD ?=	build

SH =	bash

.PHONY:	default all build module asan mock demo serve test check unit soak cuts \
	fuzz bench verify clean

default:	build

all:	build mock

build:
	@CC="$(CC)" $(SH) scripts/deps.sh build
	@CC="$(CC)" $(SH) scripts/build.sh

module:	build

asan:
	@CC="$(CC)" $(SH) scripts/deps.sh build source
	@CC="$(CC)" $(SH) scripts/build.sh --asan

MOCK =	t/mock/mock.c t/mock/request.c t/mock/answer.c t/mock/log.c

$(BUILD)/mock:	$(MOCK) t/mock/mock.h
	@mkdir -p $(BUILD)
	$(CC) -std=c99 -O2 -g -Wall -Wextra -Werror -o $@.tmp $(MOCK)
	@mv $@.tmp $@

mock:	$(BUILD)/mock

demo:
	@$(SH) scripts/demo.sh

serve:
	@$(SH) scripts/serve.sh

test:
	@$(SH) scripts/test.sh

check:
	@$(SH) scripts/test.sh build unit nginx

unit:
	@$(SH) scripts/test.sh unit

MINUTES ?=	10

soak:	build mock
	@$(SH) scripts/deps.sh fault
	@BUILD="$(abspath $(BUILD))" t/fault/run MINUTES=$(MINUTES) SEED=$(SEED) \
	    FAULTS=$(FAULTS) $(SOAK)

CUTS ?=		1000

cuts:	build mock
	@$(SH) scripts/deps.sh build test fault
	@BATCH_SOAK=1 prove -I t/lib t/62_death.t t/63_errors.t t/64_memory.t \
	    t/65_reads.t t/67_filling.t t/68_webhook_faults.t
	@BUILD="$(abspath $(BUILD))" t/fault/powercut $(CUTS) ext4
	@BUILD="$(abspath $(BUILD))" t/fault/powercut $(CUTS) xfs

SECONDS ?=	20

fuzz:
	@$(SH) scripts/deps.sh fuzz
	@$(MAKE) -s -C t/fuzz run SECONDS="$(SECONDS)" \
	    BUILD="$(abspath $(BUILD))/fuzz"

bench:
	@$(SH) bench/run.sh $(BENCH) $(ROWS)

verify:
	@$(SH) scripts/verify.sh $(HOW)

clean:
	@$(SH) scripts/clean.sh
