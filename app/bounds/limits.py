"""Every limit of what one input may cost, each with its reason; `meter limits` prints them.

A limit that decides whether an event counts is a function of the bytes alone: never of time, load,
memory or place. It holds for raw records appended after a settings record says `input_limits` 1.
What is checked only at the door needs no place in the log: what is refused there never reaches it.
"""

from __future__ import annotations

from typing import Final

# Turns of the event loop: see app/bounds/turns.py.

# Requests.

APPENDED_WITHIN_S: Final = 10.0
"""A request whose record the brokers have not taken by then is answered 503: a leader has moved
within 5 s as a rule, and clients give up after 30."""

BODY_BYTES: Final = 900_000
"""Of one request. A batch becomes one record, of at most 1 MB once each event has organization and
reception time; one of hundreds of small events reaches that before (`encode.record_value`)."""

BODY_VALUES: Final = 100_000
"""Of one body, arrays and objects counted too: as objects they take 60 to 100 bytes each, and are
made and looked through in 10 to 40 ms. 100 events of 500 properties have half as many."""

HEAD_BYTES: Final = 16 * 1024
"""Request line and headers: twice the longest that browsers and proxies send."""

HEAD_FIELDS: Final = 100
"""Headers of a request; a browser behind two proxies sends some thirty."""

HEAD_S: Final = 5.0
"""From the first byte of a request to the end of its head: one packet needs a round trip."""

BODY_S: Final = 10.0
"""For a body, and a second more for each `BODY_BYTES_A_SECOND`."""

BODY_BYTES_A_SECOND: Final = 100_000
"""The slowest line that is waited for, about one megabit a second."""

IDLE_S: Final = 30.0
"""How long a connection lives between two requests; clients and proxies open another."""

UNTAKEN_S: Final = 10.0
"""A client that takes nothing of its answer for so long is cut: what waits for it is memory."""

UNREAD_BYTES: Final = 64 * 1024
"""Read on after an answer that came before the end of the body, so that a client which sends first
and reads then gets it: what fits into the buffers on the way."""

UNREAD_S: Final = 1.0
"""How long that is read on."""

ANSWER_PIECE_BYTES: Final = 64 * 1024
"""An answer is handed to the connection by pieces, the next one when the client took the last:
with the connection's own buffer far under the 1 MiB that may wait for a client."""

SEND_BUFFER_BYTES: Final = 128 * 1024
"""Of the system for each connection, which it doubles: left alone it takes 2.5 MiB of an answer for
a client that takes none, and shows only every 0.8 MiB that a slow one takes some."""

BODIES_BYTES: Final = 64 * 1024 * 1024
"""Of all requests of a worker together: 72 of the largest."""

WORKING_BYTES: Final = 128 * 1024 * 1024
"""Memory that all requests of a worker together may need: eight at the most that one may."""

REQUEST_WORKING_BYTES: Final = 16 * 1024 * 1024
"""The most that one request may need: `BODY_VALUES` objects and the body itself several times."""

BASE_WORKING_BYTES: Final = 64 * 1024
"""What a request without a body is taken to need."""

WORKING_BYTES_A_BYTE: Final = 24
"""Memory of a body's objects for each of its bytes; events need 6 to 8, short fractions 24."""

BEGUN_A_TURN: Final = 8
"""Requests that begin at a turn of the loop: at 0.2 to 1 ms each they hold it for under 10 ms."""

REFUSED_A_TURN: Final = 32
"""Refusals at a turn: each costs a quarter of a request; thousands at once would hold the loop."""

WAITING_OF_ORGANIZATION: Final = 64
"""Requests of one organization that wait: 8 turns when it is alone."""

WAITING_IN_ALL: Final = 256
"""Requests that wait: 32 turns, so that who waits is answered within 100 ms."""

WAITING_WITHOUT_KEY: Final = 32
"""Requests without a known key that wait, in a queue of their own."""

WAITING_S: Final = 5.0
"""A request that waits longer, for memory, gets 429; half of what a worker waits for another."""

RATE_BURST_S: Final = 2.0
"""Of a key's rate, what may come at once after a pause."""

CONNECTIONS: Final = 1_024
"""Of a worker: at 128 KiB of buffers each they take 128 MiB."""

FILES_KEPT: Final = 512
"""File descriptors for Kafka, Redis and local files: some 20 clients with a connection to each of
up to 10 brokers, and the files of 100 partitions. Connections get half of what is beyond them."""

FILES_LEAST: Final = 1_024
"""With a limit of fewer open files a worker does not start."""

FILES_MOST: Final = 65_536
"""The limit of open files that a worker asks for, when the hard limit allows more."""

ADMIN_CONNECTIONS: Final = 64
"""Of the listener for health and metrics, which belongs to probes and Prometheus alone."""

ACCEPTED_A_TURN: Final = 16
"""New connections at a turn of the loop, 0.1 ms each."""

TURNED_AWAY: Final = 64
"""Connections that are told 503 at one time; any further one is closed without a word."""

# Events: these decide what counts.

INPUT_LIMITS: Final = 1
"""The rules of this page, by number: what a new log begins with, and `meter settings apply` sets.

A raw record that was appended until the settings record of a number keeps the rules before it.
"""

VALUE_BYTES: Final = 4_096
"""A unique value or a group value has at most so many bytes, or its event is not counted.

A member or a cell carries the value in its name; 1,000 operations of a member and ten group values
then fit into a changelog record with room to spare.
"""

ID_BYTES: Final = 1_024
"""transaction_id, external ids, codes and organization_id have at most so many bytes.

Names of a customer's own making have 20 to 100. Four of them make the key of whatever is kept.
"""

TRUST_AFTER_MS: Final = 3_600_000
"""A change of `producer_trust`, `producers_may_correct` and `producers_may_admit` holds for raw
records appended so long after its settings record. So far may the definitions be behind before
folding waits for them, and while events come the definitions have a tick twice as often: those
stay for ever, 18,000 a year."""

COMPARED_BYTES: Final = 65_536
"""Properties of a repeated id that are longer are the same when their bytes are.

Of shorter ones values are compared, a step of 64 at a time; to read them takes one step.
"""

REFUSED_LETTERS: Final = 20
"""So many refused elements of a record have a dead letter each; of more the record has one.

A record may have 10,000 elements: a letter for each would make ten times its bytes of them.
"""

# Expressions: these decide what counts.

EXPRESSION_NODES: Final = 500
"""Names, literals and operators of an expression, counted before it is parsed.

An expression of our examples has 20 at most. Parsing 500 takes 3 ms.
"""

EXPRESSION_UNITS: Final = 1_000
"""What evaluating an expression for one event may cost; with more the event is not counted.

A literal or an operator costs 1 and 1 for each 40 digits of its result; a property 4 and 1 for each
64 bytes where it is read first, 1 elsewhere; round, ceil and floor 4; least and greatest 1 an
argument; concat 1, and so does `event.code`, each with 1 for each 64 characters. 1,000 units take
at most 0.5 ms, so that 64 events between two looks at the clock take less than a turn.
"""

EXPRESSION_ANSWER_BYTES: Final = 65_536
"""The most that `evaluate_expression` answers with: 1,000 units of concat are 64,000 characters."""

# What cannot be taken (bounded-work §1.4).

CAREFUL_RECORDS: Final = 200_000
"""For so many records an owner is careful after a take-over that nobody handed over: more than an
owner has in hand between two flushes."""

CAREFUL_PORTION_RECORDS: Final = 100
"""Records tried at once; of a portion that fails each is tried alone."""

CAREFUL_TRIAL_S: Final = 5.0
"""How long one trial may take: a record of 1 MB folds in under a second on a slow machine."""

CAREFUL_DATA_BYTES: Final = 512 * 1024 * 1024
"""Data memory that one trial may take beside what the process has: that by which it may grow."""

# Fetched batches.

INFLATED_BYTES: Final = 64 * 1024 * 1024
"""What a compressed batch may have once inflated. The raw topic takes batches of 2 MiB, and JSON of
events is seldom compressed to less than a tenth: three times what an honest producer reaches. It
decides what counts."""

INFLATED_BEFORE_BYTES: Final = 4 * INFLATED_BYTES
"""As `INFLATED_BYTES`, of batches that were appended before there were limits: what they hold has
been counted. It is what a worker keeps inflated at most."""

INFLATING_BUFFERS: Final = tuple(n * 1024 * 1024 for n in (1, 4, 16, 64, 256))
"""Tried in turn where a batch does not say how large it is: a third more work at most, and memory
for what is there."""

INFLATED_ON_LOOP_BYTES: Final = 1024 * 1024
"""Inflated at once; whatever has more is inflated in a thread. A call takes 1 to 5 ms for it."""

INFLATED_IN_WORKER_BYTES: Final = 4 * INFLATED_BYTES
"""Kept inflated by one worker; beyond it the oldest is let go of and inflated again."""

RECORD_HEADERS: Final = 1_000
"""Headers of one record: twenty times what anybody sends. 64 MiB may hold 32 million of them, each
of which takes a hundred bytes once it is read. A record of more is not read, and a batch of over
1 MiB with such a record is not. It decides what counts."""

RECORD_HEADERS_BEFORE: Final = 100_000
"""As `RECORD_HEADERS`, of records that were appended before there were limits: 10 MB of them."""

HEADER_BYTES: Final = 128
"""What a header counts for among the bytes that are delivered at once."""

DELIVERED_RECORDS: Final = 10_000
"""Records delivered at once. The more of a partition come together, the longer are the runs of one
route: batches of 5,000 cost a third more CPU an event with 1,250 routes a partition, those of
20,000 a tenth less."""

DELIVERED_BYTES: Final = 16 * 1024 * 1024
"""Bytes delivered at once: eight of these wait for a worker at most."""

PORTION_EVENTS: Final = 10_000
"""Events decoded before they are folded, unless one record has more: 20 MB of them at most. Of half
as many the runs of a route are half as long, which costs a tenth more CPU an event."""

PORTION_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the values decoded before they are folded: eight of the largest records."""

# Flushes.

FLUSH_CHANGES: Final = 50_000
"""Changed cells, members and dead letters after which a flush goes out before its time; with that
many behind one that the brokers do not take, folding stands. Packing them takes about 0.2 s."""

FLUSH_USAGE_RECORDS: Final = 5_000
"""Usage records of one flush: of 2 to 4 KB each, about a third of what it may weigh."""

FLUSH_BYTES: Final = 32 * 1024 * 1024
"""Bytes of one flush: sent in under 3 s at 100 Mbit/s, far below the commit timeout."""

UNSENT_BYTES: Final = 256 * 1024 * 1024
"""Of packed flushes that the brokers have not taken, in one worker: eight full ones. With more,
partitions that have one stand even before their next is full."""

COMMIT_TIMEOUT_S: Final = 60.0
"""A flush that takes longer is tried again: twenty times what a full one takes."""

FLUSH_PAUSE_S: Final = 0.5
"""Before a flush that was not taken is tried again; twice as long before each further try."""

FLUSH_PAUSES_MOST_S: Final = 10.0
"""The longest such pause: with the time to connect, folding goes on within 15 s of the return."""

KAFKA_LOST_S: Final = 5.0
"""Without an answer of any broker for that long Kafka counts as lost: five probes."""

LOG_REPEATED_S: Final = 30.0
"""How often a client library's line of one kind is logged: with a broker away each of some twenty
clients says it ten times a second."""

TRANSACTION_TIMEOUT_MS: Final = 90_000
"""After which the broker aborts a flush: half as long again as the commit timeout, so that it is
always we who give up first. Brokers allow 900,000 by default."""

CHANGELOG_RECORD_BYTES: Final = 4 * 1024 * 1024
"""A cell, a member or a row that is larger is in no flush: the event that made it is set aside.

The changelogs take 16 MiB a record, so the broker is never the one to find out.
"""

# Definitions and quotas: checked at the door only, what lies in the log stays valid.

CODE_BYTES: Final = 1_024
"""Of a code or an external id: they stand in the key of every cell and record of their usage."""

NAME_CHARACTERS: Final = 255
"""A line on a screen; the name of a metric stands in each of its usage records."""

DESCRIPTION_CHARACTERS: Final = 4_096
"""A page of text; 11,000 descriptions of this size, one organization's all, are 45 MB."""

CUSTOMER_TEXT_CHARACTERS: Final = 1_024
"""An address or an URL; a customer has eighteen such texts, so 20 KB at most."""

FILTER_KEYS: Final = 100
"""Of a metric: each is looked up in every event of the metric."""

FILTER_VALUES: Final = 1_000
"""Of a filter key: an organization's regions, products or models, with room."""

FILTER_VALUE_CHARACTERS: Final = 255
"""Of a filter's key or value: it stands in usage records."""

GROUP_KEYS: Final = 10
"""`pricing_group_keys` of a charge: ten values of 4,096 bytes name a cell of 40 KB."""

PROPERTIES_BYTES: Final = 16 * 1024
"""Encoded properties of a charge or of a charge filter, and objects of customers and plans. Both
and the values of a filter (64 KiB) leave a usage record under 1 MiB."""

CHARGE_FILTER_VALUES_BYTES: Final = 64 * 1024
"""Encoded values of one charge filter: 250 values of 255 characters. They stand in its records."""

PLAN_CHARGES: Final = 500
"""Each has a cell or more in every period of every subscriber."""

PLAN_CHARGE_FILTERS: Final = 2_000
"""Of all charges of a plan: a definition of so many is decided within 50 ms."""

ELAPSED: Final = 50_000
"""Elapsed periods times charges of one definition: 0.2 ms each were seen, so 10 s of turns."""

ELAPSED_A_DAY: Final = 1_000_000
"""Of an organization: 200 s of turns, a four-hundredth of a day."""

METRICS: Final = 1_000
"""Of an organization. The implicit plan has a charge for each."""

PLANS: Final = 10_000
"""Of an organization."""

CUSTOMERS: Final = 1_000_000
"""Of an organization: every worker holds them in memory."""

SUBSCRIPTIONS: Final = 1_000_000
"""Of an organization, ended ones too, for they are held in memory as well."""

SUBSCRIPTIONS_OF_ONE_ID: Final = 10_000
"""Of one external id, one after another: each definition of it looks at all, 0.5 µs each."""

PLAN_CHANGES_A_MINUTE: Final = 600
"""Of metrics and plans: each may take 50 ms, so half of a worker's time at the very most."""

SUBSCRIPTION_CHANGES_A_MINUTE: Final = 60_000
"""Of customers and subscriptions: each takes some 50 µs to apply, so 5 % of a worker's time."""

CORRECTIONS_A_MINUTE: Final = 6_000
"""A hundred a second; each is kept in memory for ever and refolds a metric of a subscription."""

UNDEFINED_NAMES: Final = 100_000
"""Of a partition: pairs of an external subscription and a code that have events and that nothing
defines. Each takes some 1 KiB with its route, so 100 MiB; of further ones only the first offset."""

NOT_COUNTED_KINDS: Final = 1_000
"""Reasons and codes of which a partition keeps samples of what is not counted; further ones are
one, `other`, for each of at most as many organizations."""

NOT_COUNTED_SAMPLES: Final = 10
"""Of a reason and code: with ids of 1 KiB a partition has 20 MB of samples at most."""

# Scans and pages.

PER_PAGE: Final = 1_000
"""Items of one page of a listing; who asks for more gets so many. A page of the largest items that
a listing has, 1 KiB each, is 1 MiB."""

LISTED_DEPTH: Final = 100_000
"""Events and explained events up to the end of the page that is asked for. A scan keeps a sort key
and a position of each, some 300 bytes: 30 MB."""

SCANS_AT_ONCE: Final = 2
"""Scans (explain, trace, series, events, regrouped usage, verify, preview) that run in a worker at
a time: each holds up to 64 MiB of fetched records, and together they have half of a core."""

SCANS_WAITING_OF_ORGANIZATION: Final = 4
"""Scans of one organization that wait for others; the next is told 429."""

SCANS_WAITING: Final = 16
"""Scans of all organizations that wait: four organizations fill their four places."""

SCAN_TURNS_S: Final = 30.0
"""Time on the event loop that one scan may use. At 20 us an event it has read 1,500,000 events by
then, and verify, which has no end in time, is what reads more."""

SCAN_S: Final = 120.0
"""Time that a scan may take in all, waiting for its place and for the broker included: twice what
half of the loop needs for SCAN_TURNS_S."""

OVERVIEW_S: Final = 0.010
"""Time on the event loop for the lines of usage of one overview of the page; with looking for them
among 100,000 names it is under 20 ms."""

OVERVIEW_CELLS: Final = 500
"""Cells of a subscription whose units the page sums; of one with more it shows none. At 15 us a
cell these are 7 ms."""

OVERVIEW_EVERY_S: Final = 1.0
"""An overview of an organization is made anew so often, whoever looks; 20 ms of it are 2 %."""

OVERVIEWS_WAITING: Final = 8
"""Searches on the page of one organization that wait for their turn; the next is told 429."""

# Health.

REDIS_SILENT_S: Final = 2.0
"""A ping takes less than a millisecond; unique counts wait from here on."""

PEER_SILENT_S: Final = 5.0
"""A worker that lives answers within a turn of its loop; twice that its longest garbage pause."""

KAFKA_SLOW_S: Final = 1.0
"""Of an answer: a flush a second is not kept up with any more."""

KAFKA_SLOW_FOR_S: Final = 10.0
"""One slow answer is no state."""

CLOSE_WAITS_S: Final = 60.0
"""A cut that waits for longer is told in the log: a handover, or a refold of some millions, is over
by then."""

OPEN_TRANSACTION_S: Final = 5.0
"""A transaction of our own lasts tens of milliseconds; this is beyond any of a sound producer."""

FLUSH_STALE_S: Final = 10.0
"""Ten times the interval between flushes."""

DISK_LOW_SHARE: Final = 0.05
"""Of a file system; beyond it the system itself may lack room."""

# Keys.

LEAST_SECRET_CHARACTERS: Final = 32
"""Of a key or a secret in production: 128 bits in hexadecimal digits, beyond any guessing."""

FAILED_LOGINS_PER_S: Final = 20
"""Of one address; who mistypes a key never comes near it."""

FAILING_ADDRESSES: Final = 10_000
"""Whose failed attempts are counted; some 200 bytes each."""

PEER_TOKEN_S: Final = 30.0
"""How long a token between workers is good: a hop takes 10 s at most, clocks may differ by 20."""

LISTED_CHANGES: Final = 1_000
"""Records of the definitions log that one request reads: some 4 MB, a tenth of a second."""
