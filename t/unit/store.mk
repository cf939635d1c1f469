# make -f store.mk          tests of the disk and of what runs on it in threads,
#                           without nginx: store/, validation, finalizing
# make -f store.mk SAN=1    with AddressSanitizer and UBSan
# make -f store.mk speed    how fast is a validation?
#
# Needs nginx's headers (NGX_SRC) and the configured ones (NGX_OBJS), which
# "make build" in the project's root leaves in build/nginx-gcc.

SRC      = ../../src
NGX_SRC  = /usr/share/nginx/src
NGX_OBJS = ../../build/nginx-gcc
CC       = gcc
CFLAGS   = -O2 -g

ROOMS := $(wildcard $(SRC)/*/)
BUILD := ../../build/unit/store-$(notdir $(firstword $(CC)))
FLAGS  = -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Werror \
         -I. -I$(SRC) $(ROOMS:%=-I%) \
         -I$(NGX_SRC)/src/core -I$(NGX_SRC)/src/event \
         -I$(NGX_SRC)/src/event/modules -I$(NGX_SRC)/src/os/unix \
         -I$(NGX_SRC)/src/http -I$(NGX_SRC)/src/http/modules \
         -I$(NGX_SRC)/src/http/v2 -I$(NGX_OBJS)

ifdef SAN
BUILD := $(BUILD)-san
FLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all \
         -fno-omit-frame-pointer
endif

NAMES  = disk layout store prepare version publish delete read segment seal \
         walk sum reread keys object file meta uploads cancel lines final plan dedup \
         defects check validate result scan gather finalize restore

SOURCES := $(wildcard $(SRC)/core/batch_*.c) \
           $(foreach n,$(NAMES),$(wildcard $(SRC)/*/ngx_http_batch_$(n).c)) \
           ngx_shim.c store_help.c
HEADERS := $(wildcard $(SRC)/*.h $(SRC)/*/*.h) $(wildcard *.h)
OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(notdir $(SOURCES)))
TESTS    = store_bytes store_version store_disk job_validate job_finalize

vpath %.c $(ROOMS) .

.PHONY: run build speed
.SECONDARY:

run: build
	@rc=0; for t in $(TESTS); do \
	    rm -rf $(BUILD)/dir; \
	    $(BUILD)/$$t $(BUILD)/dir || rc=1; \
	    rm -rf $(BUILD)/dir; \
	done; exit $$rc

build: $(TESTS:%=$(BUILD)/%)

$(BUILD)/%.o: %.c $(HEADERS) store.mk
	@mkdir -p $(BUILD)
	$(CC) $(CFLAGS) $(FLAGS) -c -o $@ $<

$(BUILD)/store_%: $(BUILD)/store_%.o $(OBJECTS)
	$(CC) $(CFLAGS) $(FLAGS) -o $@ $^ -ljansson -lcrypto -lpthread

$(BUILD)/job_%: $(BUILD)/job_%.o $(OBJECTS)
	$(CC) $(CFLAGS) $(FLAGS) -o $@ $^ -ljansson -lcrypto -lpthread

speed: $(BUILD)/store_speed
	@rm -rf $(BUILD)/dir
	@$(BUILD)/store_speed $(BUILD)/dir; rc=$$?; rm -rf $(BUILD)/dir; exit $$rc
