/* Plain events: found in their bytes, and kept there until somebody asks for them as objects. */

#define NO_TIME INT64_MIN

/* An event where it lies, or an arrival that somebody has asked for. */
typedef struct {
    PyObject *owner;  /* Whose bytes these are; the arrival itself where `body` is NULL. */
    const char *body;
    int32_t body_size, transaction_at, transaction_size, values_at, values_size, has_organization;
    int32_t envelope_size; /* What headers said stands behind the body and a NUL; 0: nothing. */
    int32_t partition, index;
    PyObject *amount; /* NULL: it has none. */
    int64_t timestamp_ms, append_ms, offset, rekeyed;
} Entry;

/* Events of one key: a sequence of arrivals, made when they are asked for. */
typedef struct {
    PyObject_HEAD
    PyObject *key, *ways;
    Py_ssize_t size, room;
    Entry *entries;
} Events;

static PyTypeObject *events_type;

/* What is read of an event, packed or not. */
typedef struct {
    PyObject *arrival, *event; /* NULL where it is packed. */
    const Entry *entry;
    int64_t timestamp_ms, append_ms;
} View;

static int view_of(PyObject *run, Py_ssize_t i, View *v)
{
    v->arrival = v->event = NULL;
    v->entry = NULL;
    if (Py_TYPE(run) == events_type) {
        Entry *entry = &((Events *)run)->entries[i];
        if (entry->body != NULL) {
            v->entry = entry;
            v->append_ms = entry->append_ms;
            v->timestamp_ms =
                entry->timestamp_ms == NO_TIME ? entry->append_ms : entry->timestamp_ms;
            return 0;
        }
        v->arrival = Py_NewRef(entry->owner);
    } else {
        v->arrival = PySequence_GetItem(run, i);
    }
    v->event = v->arrival ? field_of(v->arrival, EVENT) : NULL;
    if (v->event == NULL || number_in(v->arrival, APPEND_TIME_MS, &v->append_ms) < 0)
        return -1;
    PyObject *time = field_of(v->event, TIMESTAMP_MS);
    v->timestamp_ms = v->append_ms;
    if (time != NULL && time != Py_None)
        v->timestamp_ms = PyLong_AsLongLong(time);
    Py_XDECREF(time);
    return time == NULL || (v->timestamp_ms == -1 && PyErr_Occurred()) ? -1 : 0;
}

static void end_view(View *v)
{
    Py_XDECREF(v->event);
    Py_XDECREF(v->arrival);
}

/* Where its records lie: (raw partition, raw offset, array index, rekeyed offset). */
static int place_in(const View *v, int64_t place[4])
{
    if (v->entry != NULL) {
        place[0] = v->entry->partition;
        place[1] = v->entry->offset;
        place[2] = v->entry->index;
        place[3] = v->entry->rekeyed;
        return 0;
    }
    for (int i = 0; i < 4; i++)
        if (number_in(v->arrival, RAW_PARTITION + i, &place[i]) < 0)
            return -1;
    return 0;
}

static int add_transaction(Blake *b, const View *v)
{
    if (v->entry != NULL) {
        blake_add(b, v->entry->body + v->entry->transaction_at,
                  (size_t)v->entry->transaction_size);
        return 0;
    }
    PyObject *found = field_of(v->event, TRANSACTION_ID);
    Py_ssize_t size;
    const char *text = found ? PyUnicode_AsUTF8AndSize(found, &size) : NULL;
    if (text != NULL)
        blake_add(b, text, (size_t)size);
    Py_XDECREF(found);
    return text == NULL ? -1 : 0;
}

/* Bytes, and what has to be let go of after them, if anything. */
typedef struct {
    PyObject *owner;
    char *text;
    Py_ssize_t size;
} Owned;

/* Find the properties of an event. */
static int properties_in(const View *v, Owned *found)
{
    if (v->entry != NULL) {
        found->text = (char *)v->entry->body + v->entry->values_at;
        found->size = v->entry->values_size;
        return 0;
    }
    found->owner = field_of(v->event, PROPERTIES);
    return found->owner == NULL
               ? -1
               : PyBytes_AsStringAndSize(found->owner, &found->text, &found->size);
}

/* Return the amount, or NULL: it has none if no error is set. */
static PyObject *amount_in(const View *v)
{
    if (v->entry != NULL)
        return Py_XNewRef(v->entry->amount);
    PyObject *amount = field_of(v->event, AMOUNT);
    if (amount == Py_None)
        Py_CLEAR(amount);
    return amount;
}

static int hash_body(const View *v, PyObject *hash_of, PyObject *hash_with, uint64_t *hashed)
{
    PyObject *body = NULL, *found = NULL;
    if (v->entry != NULL) {
        Py_ssize_t size = v->entry->body_size;
        if (v->entry->envelope_size > 0)
            size += 1 + v->entry->envelope_size;
        body = PyMemoryView_FromMemory((char *)v->entry->body, size, PyBUF_READ);
    } else {
        PyObject *envelope = field_of(v->event, ENVELOPE);
        if (envelope == NULL)
            return -1;
        if (!PyBytes_Check(envelope) || PyBytes_Size(envelope) > 0)
            found = PyObject_CallFunctionObjArgs(hash_with, v->event, NULL);
        else
            body = field_of(v->event, BODY);
        Py_DECREF(envelope);
    }
    if (body != NULL)
        found = PyObject_CallFunctionObjArgs(hash_of, body, NULL);
    Py_XDECREF(body);
    if (found == NULL)
        return -1;
    *hashed = PyLong_AsUnsignedLongLong(found) & 0xFFFFFFFFFFFFULL;
    Py_DECREF(found);
    return PyErr_Occurred() ? -1 : 0;
}

/* What is told of an event as most are: `decode_plain` and `plain_arrival` say the same. */

enum {
    ORGANIZATION, SUBSCRIPTION, TRANSACTION, CODE, TIME, CENTS, VALUES, SPECVERSION, OPERATION, FIELDS
};

/* What `twin.arrive` takes as `ways`. */
enum { OTHERWISE, ARRIVAL_CLASS, EVENT_CLASS, TEXT_TIMESTAMP, AMOUNT_OF, ZERO, WAYS };

#define MEMBER(text) {text, NULL, sizeof text - 1, 0}

static const Literal no_fields[FIELDS] = {
    MEMBER("organization_id"), MEMBER("external_subscription_id"), MEMBER("transaction_id"),
    MEMBER("code"), MEMBER("timestamp"), MEMBER("precise_total_amount_cents"),
    MEMBER("properties"), MEMBER("specversion"), MEMBER("operation"),
};

/* The same of CloudEvents; they have no amount, and `data_base64` stands for what is not plain. */
static const Literal no_attributes[FIELDS + 1] = {
    MEMBER("organizationid"), MEMBER("subject"), MEMBER("id"), MEMBER("type"), MEMBER("time"),
    {"", NULL, -1, 0}, MEMBER("data"), MEMBER("specversion"), MEMBER("operation"),
    MEMBER("data_base64"),
};

#define MOST_BYTES 65536
#define MOST_NAME 254
#define SHARED 1024

/* Texts that come again and again: each is made, and hashed, once. */
static PyObject *shared[SHARED];

static PyObject *shared_text(const char *text, Py_ssize_t size)
{
    uint64_t ends[2] = {(uint64_t)size, 0};
    Py_ssize_t part = size < 8 ? size : 8;
    memcpy(&ends[1], text + size - part, (size_t)part);
    PyObject **place = &shared[((ends[1] + ends[0]) * 0x9E3779B97F4A7C15ULL) >> 54];
    if (*place != NULL) {
        Py_ssize_t known_size;
        const char *known_text = PyUnicode_AsUTF8AndSize(*place, &known_size);
        if (known_text != NULL && known_size == size &&
            memcmp(known_text, text, (size_t)size) == 0)
            return Py_NewRef(*place);
    }
    PyObject *made = PyUnicode_FromStringAndSize(text, size);
    if (made != NULL) {
        PyObject *before = *place;
        *place = Py_NewRef(made);
        Py_XDECREF(before);
    }
    return made;
}

static int is_null(const Literal *literal)
{
    return literal->found == NULL || literal->found[0] == 'n';
}

/* Return what a Python function makes of a text; NULL without an error: it refuses the text. */
static PyObject *made_by(PyObject *function, const Literal *literal)
{
    PyObject *text = PyUnicode_FromStringAndSize(literal->found + 1, literal->found_size - 2);
    PyObject *made = text ? PyObject_CallFunctionObjArgs(function, text, NULL) : NULL;
    Py_XDECREF(text);
    if (made == NULL && PyErr_ExceptionMatches(PyExc_Exception) &&
        !PyErr_ExceptionMatches(PyExc_MemoryError))
        PyErr_Clear();
    return made;
}

/* Return the number of some digits; -1: these are none. */
static int digits_at(const char *p, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        number = 10 * number + (p[i] - '0');
    }
    return number;
}

/* Read a zone of RFC 3339, which ends a text: Z, +02:00 or -05:30. Return the bytes it takes, and the
 * minutes that it is ahead; 0 if it is none.
 */
static int read_zone(const char *end, int *ahead)
{
    *ahead = 0;
    if (end[-1] == 'Z')
        return 1;
    int hours = digits_at(end - 5, 2), minutes = digits_at(end - 2, 2);
    if ((end[-6] != '+' && end[-6] != '-') || end[-3] != ':' || hours < 0 || hours > 23 ||
        minutes < 0 || minutes > 59)
        return 0;
    *ahead = (60 * hours + minutes) * (end[-6] == '-' ? -1 : 1);
    return 6;
}

/* Read an RFC 3339 time in ms, as 2026-01-01T00:00:00.000Z or with another zone; return 0 if it is
 * another.
 */
static int read_moment(const char *p, const char *end, int64_t *time_ms)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int ahead;
    if (end - p < 20 || p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' ||
        p[16] != ':')
        return 0;
    int zone = read_zone(end, &ahead);
    if (zone == 0)
        return 0;
    /* What comes before the zone ends here. */
    end -= zone;
    int year = digits_at(p, 4), month = digits_at(p + 5, 2), day = digits_at(p + 8, 2);
    int hour = digits_at(p + 11, 2), minute = digits_at(p + 14, 2), second = digits_at(p + 17, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 59)
        return 0;
    int is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > before[month] - before[month - 1] + (month == 2 && is_leap))
        return 0;
    int ms = 0, part = 100, last = year - 1;
    const char *fraction = p + 20;
    if (p[19] == '.' && fraction == end)
        return 0;
    if (p[19] != '.' && p + 19 != end)
        return 0;
    for (; fraction < end; fraction++, part /= 10) {
        if (*fraction < '0' || *fraction > '9')
            return 0;
        ms += part * (*fraction - '0');
    }
    int64_t days = 365 * (int64_t)last + last / 4 - last / 100 + last / 400 - 719162;
    days += before[month - 1] + (month > 2 && is_leap) + day - 1;
    *time_ms = (((days * 24 + hour) * 60 + minute - ahead) * 60 + second) * 1000 + ms;
    return 1;
}

/* Read the time of a literal in ms, as `text_timestamp` does; return 0 if it refuses the text. */
static int read_time(const Literal *literal, PyObject *text_timestamp, int64_t *time_ms)
{
    const char *p = literal->found, *end = p + literal->found_size;
    *time_ms = NO_TIME;
    if (is_null(literal))
        return 1;
    int quoted = *p == '"';
    if (quoted) {
        p++;
        end--;
    } else if (*p == '-' || *p < '0' || *p > '9') {
        return 0;
    }
    const char *digits = p;
    int64_t ms = 0;
    while (p < end && *p >= '0' && *p <= '9' && p - digits < 12)
        ms = 10 * ms + (*p++ - '0');
    const char *point = p;
    ms *= 1000;
    if (p > digits && p < end && *p == '.') {
        /* What is less than a millisecond adds nothing. */
        for (int64_t part = 100; ++p < end && *p >= '0' && *p <= '9'; part /= 10)
            ms += part * (*p - '0');
        if (p == point + 1)
            p = digits;
    }
    if (p == end && point > digits) {
        *time_ms = ms;
        return 1;
    }
    if (quoted && read_moment(digits, end, time_ms))
        return 1;
    PyObject *made = quoted ? made_by(text_timestamp, literal) : NULL;
    if (made == NULL)
        return PyErr_Occurred() ? -1 : 0;
    int overflow = 1;
    if (PyLong_Check(made))
        *time_ms = PyLong_AsLongLongAndOverflow(made, &overflow);
    Py_DECREF(made);
    return PyErr_Occurred() ? -1 : !overflow && *time_ms != NO_TIME;
}

/* Whether headers decide what an event is: not at all, CLOUD if it is in the JSON format of
 * CloudEvents, BINARY if they name it themselves, or otherwise.
 */
enum { NOT_AT_ALL, CLOUD, BINARY, OTHERWISE_DECIDED };

/* Return whether a text has a lower-case word in it, whatever the case. */
static int has_word(const char *text, Py_ssize_t size, const char *word)
{
    Py_ssize_t length = (Py_ssize_t)strlen(word);
    for (Py_ssize_t at = 0; at + length <= size; at++) {
        Py_ssize_t same = 0;
        while (same < length && (text[at + same] | 0x20) == word[same])
            same++;
        if (same == length)
            return 1;
    }
    return 0;
}

#define ORGANIZATION_HEADER "meter-organization"

static int decided_by(const Record *r)
{
    int is_cloud = 0, is_binary = 0;
    Headers headers = begin_headers(r);
    Header h;
    while (next_header(&headers, &h)) {
        if (begins_with(&h, "meter-") && !is_named(&h, ORGANIZATION_HEADER))
            return OTHERWISE_DECIDED;
        is_binary |= begins_with(&h, "ce_");
        is_cloud |= h.name_size == 12 && has_word(h.name, h.name_size, "content-type") &&
                    has_word(h.text, h.text_size, "cloudevents");
    }
    return is_binary ? (is_cloud ? OTHERWISE_DECIDED : BINARY) : is_cloud ? CLOUD : NOT_AT_ALL;
}

/* What a record may be of: whatever it names, the default organization, or that of its header. */
enum { OF_ANY, OF_DEFAULT, OF_HEADER };

/* Return whether a record may be of the organization of its key. Of one that may be, 0 is said as
 * well where it is spelled another way.
 */
static int may_be_of(int trust, PyObject *key, PyObject *default_organization, const Record *r)
{
    Py_ssize_t size, name_size;
    const char *organization = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(key, 0), &size);
    if (organization == NULL)
        return -1;
    if (trust == OF_ANY)
        return 1;
    int named = 0, same = 0;
    if (trust == OF_DEFAULT && default_organization != Py_None) {
        const char *name = PyUnicode_AsUTF8AndSize(default_organization, &name_size);
        if (name == NULL)
            return -1;
        return name_size == size && memcmp(name, organization, (size_t)size) == 0;
    }
    Headers headers = begin_headers(r);
    Header h;
    while (trust == OF_HEADER && next_header(&headers, &h)) {
        if (!is_named(&h, ORGANIZATION_HEADER))
            continue;
        named++;
        same = h.text_size == size && memcmp(h.text, organization, (size_t)size) == 0;
    }
    return named == 1 && same;
}

/* Return the key of three texts: organization, subscription and code. The default stands for an
 * organization that is NULL.
 */
static PyObject *key_of(const char *const texts[3], const Py_ssize_t sizes[3],
                        PyObject *default_organization)
{
    PyObject *parts[3], *key = NULL;
    for (int i = 0; i < 3; i++)
        parts[i] = texts[i] ? shared_text(texts[i], sizes[i]) : Py_NewRef(default_organization);
    if (parts[0] && parts[1] && parts[2])
        key = PyTuple_Pack(3, parts[0], parts[1], parts[2]);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(parts[i]);
    return key;
}

/* Find a plain event in its body; return 0 if it is another. The key is (organization,
 * subscription, code), with the default where the event has no organization. `decided`: what its
 * headers say, NOT_AT_ALL or CLOUD.
 */
static int find_plain(const char *text, Py_ssize_t size, PyObject *default_organization,
                      PyObject *const *with, int decided, Entry *entry, PyObject **key)
{
    Literal found[FIELDS + 1];
    memcpy(found, no_fields, sizeof no_fields);
    int is_text = size <= MOST_BYTES && is_utf8(text, size);
    if (!is_text || !find_members(text, size, found, FIELDS) || found[OPERATION].found != NULL)
        return PyErr_Occurred() ? -1 : 0;
    if (found[SPECVERSION].found != NULL) {
        if (found[SPECVERSION].found[0] != '"')
            return 0;
        memcpy(found, no_attributes, sizeof no_attributes);
        if (!find_members(text, size, found, FIELDS + 1) || found[FIELDS].found != NULL)
            return 0;
    } else if (decided == CLOUD) {
        return 0;
    }
    const Literal *values = &found[VALUES], *cents = &found[CENTS];
    if ((values->found != NULL && values->found[0] != '{') ||
        (!is_null(cents) && cents->found[0] != '"'))
        return 0;
    entry->has_organization = !is_null(&found[ORGANIZATION]);
    if (!entry->has_organization && default_organization == Py_None)
        return 0;
    for (int i = entry->has_organization ? ORGANIZATION : SUBSCRIPTION; i <= CODE; i++)
        if (found[i].found == NULL || found[i].found[0] != '"' || found[i].found_size <= 2 ||
            found[i].found_size - 2 > MOST_NAME)
            return 0;
    int taken = read_time(&found[TIME], with[TEXT_TIMESTAMP], &entry->timestamp_ms);
    if (taken <= 0)
        return taken;
    entry->body = text;
    entry->body_size = (int32_t)size;
    entry->transaction_at = (int32_t)(found[TRANSACTION].found + 1 - text);
    entry->transaction_size = (int32_t)(found[TRANSACTION].found_size - 2);
    entry->values_at = values->found ? (int32_t)(values->found - text) : 0;
    entry->values_size = (int32_t)values->found_size;
    entry->amount = NULL;
    if (cents->found_size == 5 && memcmp(cents->found, "\"0.0\"", 5) == 0)
        entry->amount = Py_NewRef(with[ZERO]);
    else if (!is_null(cents) && (entry->amount = made_by(with[AMOUNT_OF], cents)) == NULL)
        return PyErr_Occurred() ? -1 : 0;
    static const int fields[3] = {ORGANIZATION, SUBSCRIPTION, CODE};
    const char *texts[3] = {NULL};
    Py_ssize_t sizes[3] = {0};
    for (int i = entry->has_organization ? 0 : 1; i < 3; i++) {
        texts[i] = found[fields[i]].found + 1;
        sizes[i] = found[fields[i]].found_size - 2;
    }
    *key = key_of(texts, sizes, default_organization);
    if (*key == NULL)
        Py_CLEAR(entry->amount);
    return *key == NULL ? -1 : 1;
}

/* Return the arrival of a packed event, as `plain_arrival` makes it. */
static PyObject *arrival_of(const Entry *e, PyObject *key, PyObject *ways)
{
    PyObject *event = NULL, *arrival = NULL;
    int is_body = PyBytes_CheckExact(e->owner) && PyBytes_Size(e->owner) == e->body_size;
    PyObject *parts[] = {
        Py_NewRef(e->has_organization ? PyTuple_GetItem(key, 0) : Py_None),
        Py_XNewRef(PyTuple_GetItem(key, 1)),
        PyUnicode_FromStringAndSize(e->body + e->transaction_at, e->transaction_size),
        Py_XNewRef(PyTuple_GetItem(key, 2)),
        e->timestamp_ms == NO_TIME ? Py_NewRef(Py_None) : PyLong_FromLongLong(e->timestamp_ms),
        Py_NewRef(e->amount ? e->amount : Py_None),
        e->values_size ? PyBytes_FromStringAndSize(e->body + e->values_at, e->values_size)
                       : PyBytes_FromStringAndSize("{}", 2),
        is_body ? Py_NewRef(e->owner) : PyBytes_FromStringAndSize(e->body, e->body_size),
        PyBytes_FromStringAndSize(e->body + e->body_size + 1, e->envelope_size),
    };
    PyObject *place[] = {
        PyLong_FromLongLong(e->append_ms), PyLong_FromLong(e->partition),
        PyLong_FromLongLong(e->offset), PyLong_FromLong(e->index),
        PyLong_FromLongLong(e->rekeyed),
    };
    if (!PyErr_Occurred())
        event = PyObject_CallFunctionObjArgs(PyTuple_GetItem(ways, EVENT_CLASS), parts[0], parts[1],
                                             parts[2], parts[3], parts[4], parts[5], parts[6],
                                             parts[7], parts[8], NULL);
    if (event != NULL)
        arrival = PyObject_CallFunctionObjArgs(PyTuple_GetItem(ways, ARRIVAL_CLASS), event,
                                               PyTuple_GetItem(key, 0), place[0], place[1],
                                               place[2], place[3], place[4], NULL);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        Py_XDECREF(parts[i]);
    for (size_t i = 0; i < sizeof place / sizeof *place; i++)
        Py_XDECREF(place[i]);
    Py_XDECREF(event);
    return arrival;
}

/* The sequence */

static int make_room(Events *self, Py_ssize_t more)
{
    if (self->size + more <= self->room)
        return 0;
    Py_ssize_t room = self->size + (more > self->size ? more : self->size);
    Entry *larger = PyMem_Realloc(self->entries, (size_t)room * sizeof(Entry));
    if (larger == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->entries = larger;
    self->room = room;
    return 0;
}

static Events *new_events(PyObject *key, PyObject *ways)
{
    Events *self = PyObject_New(Events, events_type);
    if (self != NULL) {
        self->key = Py_NewRef(key);
        self->ways = Py_NewRef(ways);
        self->size = self->room = 0;
        self->entries = NULL;
    }
    return self;
}

static void free_events(PyObject *object)
{
    Events *self = (Events *)object;
    for (Py_ssize_t i = 0; i < self->size; i++) {
        Py_XDECREF(self->entries[i].amount);
        Py_DECREF(self->entries[i].owner);
    }
    PyMem_Free(self->entries);
    Py_DECREF(self->key);
    Py_DECREF(self->ways);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_Free(object);
    Py_DECREF(type);
}

static Py_ssize_t count_events(PyObject *self)
{
    return ((Events *)self)->size;
}

static PyObject *event_at(PyObject *object, Py_ssize_t i)
{
    Events *self = (Events *)object;
    if (i < 0 || i >= self->size) {
        PyErr_SetString(PyExc_IndexError, "there is no such event");
        return NULL;
    }
    Entry *entry = &self->entries[i];
    if (entry->body == NULL)
        return Py_NewRef(entry->owner);
    PyObject *arrival = arrival_of(entry, self->key, self->ways);
    if (arrival != NULL) {
        /* Whoever asks for one asks again. */
        PyObject *bytes = entry->owner;
        entry->owner = Py_NewRef(arrival);
        Py_DECREF(bytes);
        Py_CLEAR(entry->amount);
        entry->body = NULL;
    }
    return arrival;
}

/* Add an event of others; there is room. */
static void copy_entry(Events *self, const Entry *entry)
{
    Py_INCREF(entry->owner);
    Py_XINCREF(entry->amount);
    self->entries[self->size++] = *entry;
}

/* Return the events of a slice, or one event. */
static PyObject *some_events(PyObject *object, PyObject *asked)
{
    Events *self = (Events *)object;
    Py_ssize_t start, stop, step;
    if (!PySlice_Check(asked)) {
        Py_ssize_t i = PyNumber_AsSsize_t(asked, PyExc_IndexError);
        if (i == -1 && PyErr_Occurred())
            return NULL;
        return event_at(object, i < 0 ? i + self->size : i);
    }
    if (PySlice_Unpack(asked, &start, &stop, &step) < 0)
        return NULL;
    Py_ssize_t count = PySlice_AdjustIndices(self->size, &start, &stop, step);
    Events *part = new_events(self->key, self->ways);
    if (part == NULL || make_room(part, count) < 0) {
        Py_XDECREF((PyObject *)part);
        return NULL;
    }
    for (; part->size < count; start += step)
        copy_entry(part, &self->entries[start]);
    return (PyObject *)part;
}

static PyObject *append_arrival(PyObject *object, PyObject *arrival)
{
    Events *self = (Events *)object;
    if (make_room(self, 1) < 0)
        return NULL;
    Entry *entry = &self->entries[self->size++];
    memset(entry, 0, sizeof *entry);
    entry->owner = Py_NewRef(arrival);
    Py_RETURN_NONE;
}

static PyMethodDef events_methods[] = {
    {"append", append_arrival, METH_O, "Add an arrival."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot events_slots[] = {
    {Py_tp_dealloc, free_events},     {Py_sq_length, count_events},
    {Py_mp_length, count_events},     {Py_sq_item, event_at},
    {Py_mp_subscript, some_events},   {Py_tp_methods, events_methods},
    {0, NULL},
};

static PyType_Spec events_spec = {
    "app.kernel.Events", sizeof(Events), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, events_slots,
};
