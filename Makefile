PREFIX ?= /usr/local
ARGS ?=
UNIT ?=
SUITE ?=
CONFORMANCE = cargo test --release --locked --test conformance -- $(SUITE:%=--suite %) $(UNIT:%=--unit %) $(ARGS)

.PHONY: build run test check bench sanitize install conformance conformance-probe

build:
	cargo build --release --locked

run: build
	./target/release/redoxide-server $(ARGS)

test: build
	cargo test --locked

check:
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --test conformance --locked -- -D warnings

bench: build
	cargo bench --locked --bench compare -- $(ARGS)

# upstream's suites: make conformance UNIT=unit/type/string SUITE=8.0
conformance: build
	$(CONFORMANCE)

# listed tests that pass now
conformance-probe: build
	$(CONFORMANCE) --probe

install: build
	install -D -m 755 target/release/redoxide-server $(DESTDIR)$(PREFIX)/bin/redoxide-server
	for name in redis-server redis-check-rdb redis-check-aof redis-sentinel; do \
	  ln -sf redoxide-server $(DESTDIR)$(PREFIX)/bin/$$name; done

sanitize:
	.ci/sanitize
