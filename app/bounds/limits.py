"""Every limit of what one input may cost, each with its reason; `meter limits` prints them.

A limit that decides whether an event counts depends on the bytes alone: never on time, load, memory
or place. It holds for raw records appended after a settings record says `input_limits`. Limits
checked only at the API need no place in the log: a refused request never reaches the log.
"""

from __future__ import annotations

from typing import Final

# Turns of the event loop: see app/bounds/turns.py.

# Requests.

APPENDED_WITHIN_S: Final = 10.0
"""Seconds the brokers have to take the record of a request; after them the answer is 503. As a rule
a leader moves within 5 s, and clients give up after 30 s."""

BODY_BYTES: Final = 900_000
"""Bytes of one request body. A batch becomes one record of at most 1 MB, in which each event gets
its organization and reception time. A batch of hundreds of small events reaches 1 MB before this
limit (`encode.record_value`)."""

BODY_VALUES: Final = 100_000
"""JSON values of one request body, arrays and objects included. Python objects take 60 to 100 bytes
each, so making and reading all of them takes 10 to 40 ms. A batch of 100 events with 500 properties
each has half as many values."""

HEAD_BYTES: Final = 16 * 1024
"""Bytes of the request line and headers: twice the longest that browsers and proxies send."""

HEAD_FIELDS: Final = 100
"""Headers of one request; a browser behind two proxies sends about thirty."""

HEAD_S: Final = 5.0
"""Seconds from the first byte of a request to the end of its head; one packet needs a round trip.
"""

BODY_S: Final = 10.0
"""Seconds for a request body, and one second more for each `BODY_BYTES_A_SECOND`."""

BODY_BYTES_A_SECOND: Final = 100_000
"""Bytes per second of the slowest client that a worker waits for, about one megabit a second."""

IDLE_S: Final = 30.0
"""Seconds that a connection stays open between two requests; clients and proxies open another."""

UNTAKEN_S: Final = 10.0
"""Seconds without progress after which a worker cuts a client that does not read its answer. The
unread answer takes memory."""

UNREAD_BYTES: Final = 64 * 1024
"""Bytes of a body that are read on after an early answer: as many as fit into the buffers on the
way. A client that sends first and reads afterwards thus gets its answer."""

UNREAD_S: Final = 1.0
"""Seconds that the rest of a body is read on after an early answer."""

ANSWER_PIECE_BYTES: Final = 64 * 1024
"""Bytes of an answer that the connection gets at once; the next piece follows when the client took
the last. With the connection's own buffer a piece stays far under the 1 MiB that may wait for a
client."""

SEND_BUFFER_BYTES: Final = 128 * 1024
"""Bytes of the system's send buffer of each connection; the system doubles the figure. By default
the system buffers 2.5 MiB of an answer for a client that reads nothing. It then reports progress of
a slow client only every 0.8 MiB."""

BODIES_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all request bodies in a worker together: 72 of the largest."""

WORKING_BYTES: Final = 128 * 1024 * 1024
"""Bytes of memory that all requests of a worker together may need: eight times the most of one."""

REQUEST_WORKING_BYTES: Final = 16 * 1024 * 1024
"""Bytes of memory that one request may need: `BODY_VALUES` objects, several copies of the body."""

BASE_WORKING_BYTES: Final = 64 * 1024
"""Bytes of memory that a request without a body counts for."""

WORKING_BYTES_A_BYTE: Final = 24
"""Bytes of memory that one byte of a body counts for; events need 6 to 8, short fractions 24."""

BEGUN_A_TURN: Final = 8
"""Requests that begin in one turn of the loop: at 0.2 to 1 ms each they hold it for under 10 ms."""

REFUSED_A_TURN: Final = 32
"""Refusals in one turn of the loop. One costs a quarter of a request; thousands at once would hold
the loop."""

WAITING_OF_ORGANIZATION: Final = 64
"""Requests of one organization that may wait: 8 turns when no other organization asks."""

WAITING_IN_ALL: Final = 256
"""Requests of all organizations that may wait: 32 turns, so that each is answered within 100 ms."""

WAITING_WITHOUT_KEY: Final = 32
"""Requests without a known key that may wait, in a queue of their own."""

WAITING_S: Final = 5.0
"""Seconds after which a request that waits for memory gets 429. They are half of what a worker
waits for another worker."""

RATE_BURST_S: Final = 2.0
"""Seconds of a key's rate that may come at once after a pause."""

CONNECTIONS: Final = 1_024
"""Client connections of one worker: at 128 KiB of buffers each they take 128 MiB."""

FILES_KEPT: Final = 512
"""File descriptors kept for Kafka, Redis and local files: some 20 clients, each connected to up to
10 brokers, and the files of 100 partitions. Connections get half of the others."""

FILES_LEAST: Final = 1_024
"""Lowest limit of open files with which a worker starts."""

FILES_MOST: Final = 65_536
"""Limit of open files that a worker asks for when the hard limit allows more."""

ADMIN_CONNECTIONS: Final = 64
"""Connections of the listener for health and metrics, which only probes and Prometheus use."""

ACCEPTED_A_TURN: Final = 16
"""New connections that are accepted in one turn of the loop, at 0.1 ms each."""

IN_USE_S: Final = 1.0
"""A connection answered less ago makes no room, unless its organization has most of all."""

ROOM_S: Final = 0.5
"""A new connection waits so long for a place: a thousand requests are refused meanwhile."""

TURNED_AWAY: Final = 64
"""Connections that get the answer 503 at one time; any further one is closed without an answer."""

# Events: these decide what counts.

INPUT_LIMITS: Final = 5
"""Number of the rules of this file. A new log begins with this number, and `meter settings apply`
sets it. 2 rounds results of expressions, by 3 no empty text bills at once, 5 writes numbers as Lago
does. A raw record appended before the settings record of a number keeps the earlier rules. 4 and 5
are of periods, those fixed after their record (`SettingsRecord.end_rules`).
"""

VALUE_BYTES: Final = 4_096
"""Bytes of a unique value or a group value; an event with a longer one is not counted.

The key of a member or a cell contains the value. With this limit 1,000 operations of a member and
ten group values fit into a changelog record with room to spare.
"""

ID_BYTES: Final = 1_024
"""Bytes of a transaction_id, an external id, a code or an organization_id.

Names that customers make have 20 to 100 bytes. The key of every stored thing consists of up to four
such names.
"""

TRUST_AFTER_MS: Final = 3_600_000
"""Milliseconds between a settings record and the first raw record that its change holds for. This
concerns changes of `producer_trust`, `producers_may_correct` and `producers_may_admit`. When
definitions are further behind than this, folding waits for them. While events come, definitions get
two ticks in this time. Ticks are never deleted: 18,000 a year."""

COMPARED_BYTES: Final = 65_536
"""Bytes of properties up to which a repeated id is compared value by value, 64 at a step; longer
properties must have equal bytes. Decoding them takes one step."""

REFUSED_LETTERS: Final = 20
"""Most refused elements of a record with a dead letter each; with more the record has one letter.

A record may have 10,000 elements: a letter for each would take ten times the bytes of the record.
"""

GROUPS: Final = 50_000
"""The most that `max_groups` may be: to put so many in order is one step of 30 ms."""

# Expressions: these decide what counts.

EXPRESSION_NODES: Final = 500
"""Names, literals and operators of an expression, counted before it is parsed.

An expression of our examples has at most 20. Parsing 500 takes 3 ms.
"""

EXPRESSION_UNITS: Final = 1_000
"""Units that evaluating an expression for one event may cost; with more the event is not counted.

A literal or an operator costs 1, and 1 more for each 40 digits of its result. A property costs 4 at
its first use, and 1 more for each 64 bytes; it costs 1 at each later use. Round, ceil and floor
cost 4; least and greatest cost 1 an argument. Concat and `event.code` cost 1, and 1 more for each
64 characters. Evaluating 1,000 units takes at most 0.5 ms, so that 64 events between two looks at
the clock take less than a turn.
"""

EXPRESSION_ANSWER_BYTES: Final = 65_536
"""Bytes of an answer of `evaluate_expression`: 1,000 units of concat are 64,000 characters."""

# What cannot be taken (bounded-work §1.4).

CAREFUL_RECORDS: Final = 200_000
"""Records that an owner tries before it folds them, after it took over a partition that nobody
handed over. An owner has fewer records in hand between two flushes."""

CAREFUL_PORTION_RECORDS: Final = 100
"""Records that are tried together; if a portion fails, each of its records is tried alone."""

CAREFUL_TRIAL_S: Final = 5.0
"""Seconds of a processor that one trial may take: a record of 1 MB folds in under a second."""

CAREFUL_DATA_BYTES: Final = 512 * 1024 * 1024
"""Bytes of data memory by which the process of one trial may grow."""

# Fetched batches.

INFLATED_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a compressed batch once inflated. The raw topic takes batches of 2 MiB, and compression
seldom makes JSON events smaller than a tenth. The limit is three times what an honest producer
reaches, and it decides what counts."""

INFLATED_BEFORE_BYTES: Final = 4 * INFLATED_BYTES
"""Bytes of a compressed batch once inflated, for batches appended before there were limits: their
events have been counted. A worker keeps at most as many inflated bytes."""

INFLATING_BUFFERS: Final = tuple(n * 1024 * 1024 for n in (1, 4, 16, 64, 256))
"""Sizes in bytes of the buffers to try in turn for a batch that does not tell its own size. Trying
costs at most a third more work, and memory in proportion to the batch."""

INFLATED_ON_LOOP_BYTES: Final = 1024 * 1024
"""Bytes up to which a batch is inflated on the event loop, in 1 to 5 ms; a larger one is inflated
in a thread."""

INFLATED_IN_WORKER_BYTES: Final = 4 * INFLATED_BYTES
"""Bytes that one worker keeps inflated; beyond them it drops the oldest batch and inflates that
batch again later."""

RECORD_HEADERS: Final = 1_000
"""Headers of one record: twenty times what anybody sends. A batch of 64 MiB may hold 32 million
headers, and each takes a hundred bytes once decoded. A record with more headers is not read, and
neither is a batch of over 1 MiB with such a record. The limit decides what counts."""

RECORD_HEADERS_BEFORE: Final = 100_000
"""Headers of one record, for records appended before there were limits: 10 MB of them."""

HEADER_BYTES: Final = 128
"""Bytes that a header counts for among the bytes that are delivered at once."""

DELIVERED_RECORDS: Final = 10_000
"""Records delivered at once. More records of a partition at once make longer runs of one route.
With 1,250 routes a partition, batches of 5,000 cost a third more CPU an event, those of 20,000 a
tenth less."""

DELIVERED_BYTES: Final = 16 * 1024 * 1024
"""Bytes delivered at once; at most eight deliveries wait for a worker."""

PORTION_EVENTS: Final = 5_000
"""Events decoded before they are folded, unless one record has more: at most 20 MB. With half as
many the runs of a route are half as long, which costs a tenth more CPU an event; with twice as many
they leave the processor's cache before they are folded."""

PORTION_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the values decoded before they are folded: eight of the largest records."""

# Flushes.

FLUSH_CHANGES: Final = 50_000
"""Changed cells, members and dead letters after which a flush goes out early. If as many wait
behind a flush that the brokers do not take, folding stops. Packing them takes about 0.2 s."""

FLUSH_USAGE_RECORDS: Final = 5_000
"""Usage records of one flush: at 2 to 4 KB each about a third of `FLUSH_BYTES`."""

FLUSH_BYTES: Final = 32 * 1024 * 1024
"""Bytes of one flush: sent in under 3 s at 100 Mbit/s, far below the commit timeout."""

UNSENT_BYTES: Final = 256 * 1024 * 1024
"""Bytes of packed flushes in one worker that the brokers have not taken: eight full ones. Beyond it
a partition with an unsent flush stops folding even before its next flush is full."""

COMMIT_TIMEOUT_S: Final = 60.0
"""Seconds after which a flush is tried again: twenty times what a full one takes."""

FLUSH_PAUSE_S: Final = 0.5
"""Seconds before the second try of a flush; the pause doubles before each further try."""

FLUSH_PAUSES_MOST_S: Final = 10.0
"""Seconds of the longest pause between tries of a flush. With the time to connect, folding goes on
within 15 s after the brokers return."""

KAFKA_LOST_S: Final = 5.0
"""Seconds without an answer of any broker after which Kafka counts as lost: five probes."""

LOG_REPEATED_S: Final = 30.0
"""Seconds between two log lines of one kind of a client library. While a broker is away, each of
some twenty clients says the same ten times a second."""

TRANSACTION_TIMEOUT_MS: Final = 90_000
"""Milliseconds after which the broker aborts a flush: half as long again as the commit timeout. The
worker thus always gives up first. Brokers allow 900,000 by default."""

RECORD_LIST_BYTES: Final = 4 * 1024 * 1024
"""Characters of a list in a usage record; a longer one is null."""

CHANGELOG_RECORD_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a cell, a member or a row in a flush; an event that makes a larger one is set aside.

The changelogs take records of 16 MiB, so the worker always finds this out before the broker.
"""

# Definitions and quotas: checked at the door only, what lies in the log stays valid.

CODE_BYTES: Final = 1_024
"""Bytes of a code or an external id. The key of every cell and record of their usage contains them.
"""

NAME_CHARACTERS: Final = 255
"""Characters of a name: a line on a screen. Each usage record contains the name of its metric."""

DESCRIPTION_CHARACTERS: Final = 4_096
"""Characters of a description: a page of text. All 11,000 descriptions of one organization at this
size are 45 MB."""

CUSTOMER_TEXT_CHARACTERS: Final = 1_024
"""Characters of an address or a URL; a customer has eighteen such texts, so at most 20 KB."""

FILTER_KEYS: Final = 100
"""Filter keys of one metric; each event of the metric is searched for all of them."""

FILTER_VALUES: Final = 1_000
"""Values of one filter key: the regions, products or models of an organization, with room."""

FILTER_VALUE_CHARACTERS: Final = 255
"""Characters of a filter's key or value; usage records contain both."""

GROUP_KEYS: Final = 10
"""`pricing_group_keys` of one charge: ten values of 4,096 bytes make a cell key of 40 KB."""

PROPERTIES_BYTES: Final = 16 * 1024
"""Bytes of the encoded properties of a charge or of a charge filter, and of objects of customers
and plans. Properties and filter values (64 KiB) together leave a usage record under 1 MiB."""

CHARGE_FILTER_VALUES_BYTES: Final = 64 * 1024
"""Bytes of the encoded values of one charge filter: 250 values of 255 characters. Usage records of
the filter contain its values."""

PLAN_CHARGES: Final = 500
"""Charges of one plan; each has a cell or more in every period of every subscriber."""

PLAN_CHARGE_FILTERS: Final = 2_000
"""Filters of all charges of one plan: a definition with as many is decided within 50 ms."""

ELAPSED: Final = 50_000
"""Elapsed periods times charges of one definition: at 0.2 ms each, as measured, 10 s of turns."""

ELAPSED_A_DAY: Final = 1_000_000
"""Elapsed periods times charges of one organization in a day: 200 s of turns, a four-hundredth of a
day."""

METRICS: Final = 1_000
"""Metrics of one organization. The implicit plan has a charge for each metric."""

PLANS: Final = 10_000
"""Plans of one organization."""

CUSTOMERS: Final = 1_000_000
"""Customers of one organization: every worker holds all customers in memory."""

SUBSCRIPTIONS: Final = 1_000_000
"""Subscriptions of one organization, ended ones included: every worker holds those in memory, too.
"""

SUBSCRIPTIONS_OF_ONE_ID: Final = 500
"""Subscriptions of one external id, one after another. A definition of the id looks at the last of
them; its home partition makes the periods of all, at up to 50 µs each for each code."""

PLAN_CHANGES_A_MINUTE: Final = 600
"""Changes of metrics and plans a minute: each may take 50 ms, so at the very most half of a
worker's time."""

SUBSCRIPTION_CHANGES_A_MINUTE: Final = 60_000
"""Changes of customers and subscriptions a minute: each takes about 50 µs to apply, so 5 % of a
worker's time."""

CORRECTIONS_A_MINUTE: Final = 6_000
"""Corrections a minute, a hundred a second. A worker keeps each in memory for ever, and each
refolds a metric of a subscription."""

UNDEFINED_NAMES: Final = 100_000
"""Meter keys (external subscription, code) in one partition that have events but no definition.
Each takes about 1 KiB with its route, so all take 100 MiB. A partition keeps only the first
offset of further ones."""

NOT_COUNTED_KINDS: Final = 1_000
"""Pairs of reason and code with samples of uncounted events in one partition. Further pairs share
one entry, `other`, for each of at most as many organizations."""

NOT_COUNTED_SAMPLES: Final = 10
"""Samples of one reason and code: with ids of 1 KiB a partition has at most 20 MB of samples."""

# Scans and pages.

PER_PAGE: Final = 1_000
"""Items of one page of a listing; a request for more gets as many. A page of the largest items of a
listing, 1 KiB each, is 1 MiB."""

LISTED_DEPTH: Final = 100_000
"""Events and explained events up to the end of the page that a request asks for. A scan keeps a
sort key and a position of each, about 300 bytes: 30 MB."""

FULL_USAGE_GROUPS: Final = 10_000
"""Groups of one charge that `full_usage` shows, as many as one period may have; more get 422. Each
period may have other ones, and an answer sorts them all in one step."""

SCANS_AT_ONCE: Final = 2
"""Scans that run in a worker at a time: explain, trace, series, events, regrouped usage, verify,
preview. Each holds up to 64 MiB of fetched records, and together they have half of a core."""

SCANS_WAITING_OF_ORGANIZATION: Final = 4
"""Scans of one organization that may wait for others; the next one gets 429."""

SCANS_WAITING: Final = 16
"""Scans of all organizations that may wait: four organizations fill their four places."""

SCAN_TURNS_S: Final = 30.0
"""Seconds on the event loop that one scan may use. At 20 µs an event a scan has read 1,500,000
events by then. Verify has no such limit and can read more."""

SCAN_S: Final = 120.0
"""Seconds that a scan may take in all, including its wait for a place and for the broker. They are
twice what half of the loop needs for SCAN_TURNS_S."""

OVERVIEW_S: Final = 0.005
"""Seconds on the event loop for the usage lines of one overview of the page."""

OVERVIEW_SUBSCRIPTIONS: Final = 40
"""Subscriptions whose usage an overview evaluates. At 40 µs each, and 30 µs for the HTML, they take
3 ms."""

OVERVIEW_CELLS: Final = 500
"""Cells of a subscription up to which the page sums its units; the page shows no sum for more
cells. At 15 µs a cell the sum takes 7 ms."""

OVERVIEW_EVERY_S: Final = 1.0
"""Seconds between two overviews of an organization, however many clients look."""

OVERVIEWS_WAITING: Final = 8
"""Searches on the page of one organization that may wait for their turn; the next one gets 429."""

# Health.

REDIS_SILENT_S: Final = 2.0
"""Seconds without an answer of Redis after which unique counts wait; a ping takes less than a
millisecond."""

PEER_SILENT_S: Final = 5.0
"""Seconds without an answer after which a worker counts as gone. A live worker answers within a
turn of its loop; the limit is twice its longest garbage pause."""

KAFKA_SLOW_S: Final = 1.0
"""Seconds that a broker may take to answer; beyond them a worker cannot keep up one flush a second.
"""

KAFKA_SLOW_FOR_S: Final = 10.0
"""Seconds that slow answers or refused writes must last before health reports them; one slow answer
is no state."""

CLOSE_WAITS_S: Final = 60.0
"""Seconds after which the log tells that a cut waits; a handover, or a refold of some millions of
events, is over by then."""

OPEN_TRANSACTION_S: Final = 5.0
"""Seconds after which health reports an open transaction. Our own last tens of milliseconds, and
those of a sound producer end sooner than this."""

FLUSH_STALE_S: Final = 10.0
"""Seconds since the last flush after which health reports a partition with an unsent flush: ten
times the interval between flushes."""

DISK_LOW_SHARE: Final = 0.05
"""Free share of a file system below which health reports it; beyond that point the system itself
may lack room."""

# Keys.

LEAST_SECRET_CHARACTERS: Final = 32
"""Characters of a key or a secret in production: 128 bits in hexadecimal digits, beyond any
guessing."""

FAILED_LOGINS_PER_S: Final = 20
"""Failed attempts per second of one address; somebody who mistypes a key never comes near it."""

FAILING_ADDRESSES: Final = 10_000
"""Addresses with counted failed attempts; each takes about 200 bytes."""

PEER_TOKEN_S: Final = 30.0
"""Seconds that a token between workers is valid: a hop takes at most 10 s, and clocks may differ by
20 s."""

LISTED_CHANGES: Final = 1_000
"""Records of the definitions log that one request reads: about 4 MB, a tenth of a second."""
