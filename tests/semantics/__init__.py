"""Rules of metering-semantics §4 and §6, from definitions and events to usage and records."""
