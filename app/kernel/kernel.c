/* The kernel: what each event costs most, on its bytes. It decides nothing: no time, no definition.
 *
 * `twin.py` has the same functions in Python, and says what each one returns. Whatever is not plain
 * is handed back. A law holds both to the same results.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include "blake2b.h"
#include "plain_json.h"

#ifndef SOURCE
#define SOURCE "unknown"
#endif

#define ID_BYTES 12
#define ROW_BYTES 40

/* Names of the fields that are read: of an arrival, its event, a route, a cell and its state. */

enum {
    EVENT, APPEND_TIME_MS, RAW_PARTITION, RAW_OFFSET, ARRAY_INDEX, REKEYED_OFFSET,
    TRANSACTION_ID, TIMESTAMP_MS, AMOUNT, PROPERTIES, BODY, ENVELOPE,
    BOUNDS, CELL, READING, SET_KEY, STATE, DIRTY, EVENTS, DIGEST, PRECISE, NAMES
};

static const char *const spellings[NAMES] = {
    "event", "append_time_ms", "raw_partition", "raw_offset", "array_index", "rekeyed_offset",
    "transaction_id", "timestamp_ms", "precise_total_amount_cents", "properties", "body",
    "envelope", "bounds", "cell", "reading", "set_key", "state", "dirty", "events", "digest",
    "precise",
};

static PyObject *names[NAMES];
static PyObject *shift, *mask;

/* Where the objects of a class have their fields; 0: ask by the name. */
static PyTypeObject *known[NAMES];
static Py_ssize_t places[NAMES];

/* Return a field, as PyObject_GetAttr does. */
static inline PyObject *field_of(PyObject *object, int name)
{
    if (Py_TYPE(object) == known[name]) {
        PyObject *found = *(PyObject **)((char *)object + places[name]);
        if (found != NULL) {
            Py_INCREF(found);
            return found;
        }
    }
    return PyObject_GetAttr(object, names[name]);
}

/* learn: find out where objects of a class have their fields, by one whose fields all differ. */
static PyObject *learn(PyObject *module, PyObject *object)
{
    PyObject *size = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__basicsize__");
    if (size == NULL)
        return NULL;
    Py_ssize_t bytes = PyLong_AsSsize_t(size);
    Py_DECREF(size);
    for (int i = 0; i < NAMES && !PyErr_Occurred(); i++) {
        PyObject *field = PyObject_GetAttr(object, names[i]);
        if (field == NULL) {
            PyErr_Clear();
            continue;
        }
        Py_ssize_t at = sizeof(PyObject), word = sizeof(PyObject *);
        while (at + word <= bytes && *(PyObject **)((char *)object + at) != field)
            at += word;
        if (at + word <= bytes) {
            known[i] = Py_TYPE(object);
            Py_INCREF((PyObject *)known[i]);
            places[i] = at;
        }
        Py_DECREF(field);
    }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static inline uint64_t load_be(const uint8_t *p)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | p[i];
    return number;
}

/* What is read of arrivals. */

static int number_in(PyObject *object, int name, int64_t *number)
{
    PyObject *found = field_of(object, name);
    if (found == NULL)
        return -1;
    *number = PyLong_AsLongLong(found);
    Py_DECREF(found);
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Return the time of an event: the append time when it has none. */
static PyObject *time_of(PyObject *event, PyObject *append_time_ms, int64_t *timestamp_ms)
{
    PyObject *found = field_of(event, TIMESTAMP_MS);
    if (found == Py_None) {
        Py_DECREF(found);
        found = append_time_ms;
        Py_INCREF(found);
    }
    if (found != NULL) {
        *timestamp_ms = PyLong_AsLongLong(found);
        if (*timestamp_ms == -1 && PyErr_Occurred())
            Py_CLEAR(found);
    }
    return found;
}

static int add_text(Blake *b, PyObject *object, int name)
{
    PyObject *found = field_of(object, name);
    if (found == NULL)
        return -1;
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(found, &size);
    if (text != NULL)
        blake_add(b, text, (size_t)size);
    Py_DECREF(found);
    return text == NULL ? -1 : 0;
}

static void write_be(uint8_t *to, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

static int body_hash_of(PyObject *event, PyObject *hash_of, PyObject *hash_with, uint64_t *hashed)
{
    PyObject *envelope = field_of(event, ENVELOPE), *body = NULL, *found = NULL;
    if (envelope == NULL)
        return -1;
    if (!PyBytes_Check(envelope) || PyBytes_Size(envelope) > 0)
        found = PyObject_CallFunctionObjArgs(hash_with, event, NULL);
    else if ((body = field_of(event, BODY)) != NULL)
        found = PyObject_CallFunctionObjArgs(hash_of, body, NULL);
    Py_DECREF(envelope);
    Py_XDECREF(body);
    if (found == NULL)
        return -1;
    *hashed = PyLong_AsUnsignedLongLong(found) & 0xFFFFFFFFFFFFULL;
    Py_DECREF(found);
    return PyErr_Occurred() ? -1 : 0;
}

/* index_rows: the row of each event of a run, for the event index. */

typedef struct {
    const char *organization, *subscription;
    Py_ssize_t organization_size, subscription_size;
    long long start_ms, end_ms, after_ms, until_ms;
    PyObject *hash_of, *hash_with;
    /* Of the last event: */
    int64_t timestamp_ms, append_ms, raw_offset, rekeyed_offset;
} Rows;

/* Write one row; return 0 if the event is out of bounds. */
static int write_row(Rows *r, PyObject *arrival, PyObject *event, uint8_t *row)
{
    int64_t append_ms, timestamp_ms = 0, partition, offset, index, rekeyed;
    PyObject *append_time_ms = field_of(arrival, APPEND_TIME_MS);
    PyObject *time = append_time_ms ? time_of(event, append_time_ms, &timestamp_ms) : NULL;
    append_ms = time ? PyLong_AsLongLong(append_time_ms) : -1;
    Py_XDECREF(append_time_ms);
    Py_XDECREF(time);
    if (append_ms == -1 && PyErr_Occurred())
        return -1;
    if (timestamp_ms < r->start_ms || timestamp_ms >= r->end_ms || append_ms < r->after_ms ||
        append_ms > r->until_ms)
        return 0;
    if (number_in(arrival, RAW_PARTITION, &partition) < 0 ||
        number_in(arrival, RAW_OFFSET, &offset) < 0 ||
        number_in(arrival, ARRAY_INDEX, &index) < 0 ||
        number_in(arrival, REKEYED_OFFSET, &rekeyed) < 0)
        return -1;
    const uint64_t most = 1ULL << 48;
    if ((uint64_t)append_ms >= most || (uint64_t)partition >> 16 || (uint64_t)offset >= most ||
        (uint64_t)index >> 16 || rekeyed < -1 || rekeyed >= (int64_t)most - 1) {
        PyErr_SetString(PyExc_ValueError, "a field of an entry is out of its range");
        return -1;
    }
    r->timestamp_ms = timestamp_ms;
    r->append_ms = append_ms;
    r->raw_offset = offset;
    r->rekeyed_offset = rekeyed;
    Blake id;
    blake_begin(&id, ID_BYTES);
    blake_add(&id, r->organization, (size_t)r->organization_size);
    blake_add(&id, "", 1);
    blake_add(&id, r->subscription, (size_t)r->subscription_size);
    blake_add(&id, "", 1);
    if (add_text(&id, event, TRANSACTION_ID) < 0)
        return -1;
    uint64_t body;
    if (body_hash_of(event, r->hash_of, r->hash_with, &body) < 0)
        return -1;
    uint8_t digest[DIGEST_BYTES];
    blake_end(&id, digest);
    memcpy(row, digest, ID_BYTES);
    write_be(row + 12, (uint64_t)append_ms, 6);
    write_be(row + 18, (uint64_t)partition, 2);
    write_be(row + 20, (uint64_t)offset, 6);
    write_be(row + 26, (uint64_t)index, 2);
    write_be(row + 28, rekeyed < 0 ? most - 1 : (uint64_t)rekeyed, 6);
    write_be(row + 34, body, 6);
    return 1;
}

/* Until where events of a route reach that nothing has to be noted of. */
typedef struct {
    int64_t newest_ms, appended_ms, raw_first, rekeyed_first;
} Reach;

static int is_farther(const Rows *r, const Reach *reach)
{
    int is_raw = r->rekeyed_offset < 0;
    int64_t first = is_raw ? reach->raw_first : reach->rekeyed_first;
    return r->timestamp_ms > reach->newest_ms || r->append_ms > reach->appended_ms || first < 0 ||
           (is_raw ? r->raw_offset : r->rekeyed_offset) < first;
}

/* Append id and row of each event of a run; append none and return 0 if one is out of bounds.
 * With a reach `*farther` is set if one is beyond it.
 */
static int add_rows(Rows *r, PyObject *run, PyObject *ids, PyObject *packed, const Reach *reach,
                    int *farther)
{
    Py_ssize_t size = PySequence_Size(run);
    if (size < 0)
        return -1;
    Py_ssize_t before = PyByteArray_Size(packed), known = PyList_Size(ids);
    if (PyByteArray_Resize(packed, before + size * ROW_BYTES) < 0)
        return -1;
    int taken = 1;
    for (Py_ssize_t i = 0; taken > 0 && i < size; i++) {
        uint8_t row[ROW_BYTES];
        PyObject *arrival = PySequence_GetItem(run, i);
        PyObject *event = arrival ? field_of(arrival, EVENT) : NULL;
        taken = event ? write_row(r, arrival, event, row) : -1;
        Py_XDECREF(event);
        Py_XDECREF(arrival);
        if (taken <= 0)
            break;
        if (reach != NULL && is_farther(r, reach))
            *farther = 1;
        /* What was called may have changed the length. */
        Py_ssize_t at = before + i * ROW_BYTES;
        if (PyByteArray_Size(packed) < at + ROW_BYTES) {
            PyErr_SetString(PyExc_BufferError, "the rows were cut meanwhile");
            return -1;
        }
        memcpy(PyByteArray_AsString(packed) + at, row, ROW_BYTES);
        PyObject *id = PyBytes_FromStringAndSize((char *)row, ID_BYTES);
        if (id == NULL || PyList_Append(ids, id) < 0)
            taken = -1;
        Py_XDECREF(id);
    }
    if (taken > 0)
        return 1;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (PyByteArray_Resize(packed, before) < 0 ||
        PyList_SetSlice(ids, known, PyList_Size(ids), NULL) < 0)
        return -1;
    PyErr_Restore(type, value, trace);
    return taken;
}

static PyObject *index_rows(PyObject *module, PyObject *args)
{
    Rows r;
    PyObject *run, *ids, *packed;
    if (!PyArg_ParseTuple(args, "s#s#OLLLLOOO!O!", &r.organization, &r.organization_size,
                          &r.subscription, &r.subscription_size, &run, &r.start_ms, &r.end_ms,
                          &r.after_ms, &r.until_ms, &r.hash_of, &r.hash_with, &PyList_Type, &ids,
                          &PyByteArray_Type, &packed))
        return NULL;
    int taken = add_rows(&r, run, ids, packed, NULL, NULL);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

/* Values and digests of the events of a run that falls into one cell. */

typedef struct {
    long long start_ms, end_ms, after_ms, until_ms;
    const char *subscription, *code, *field;
    Py_ssize_t subscription_size, code_size;
    Py_ssize_t field_size;
    Py_ssize_t most_text;
    PyObject *numbers, *number_of, *zero;
    int ordered;
    PyObject *amounts, *found;
    uint64_t high, low;
} Reading;

static size_t write_number(char *to, int64_t number)
{
    char digits[20];
    size_t size = 0, count = 0;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        to[size++] = '-';
    while (count > 0)
        to[size++] = digits[--count];
    return size;
}

/* Return (append time, raw partition, raw offset, array index). */
static PyObject *position_of(PyObject *arrival, PyObject *append_time_ms)
{
    PyObject *partition = field_of(arrival, RAW_PARTITION);
    PyObject *offset = partition ? field_of(arrival, RAW_OFFSET) : NULL;
    PyObject *index = offset ? field_of(arrival, ARRAY_INDEX) : NULL;
    PyObject *position = index ? PyTuple_Pack(4, append_time_ms, partition, offset, index) : NULL;
    Py_XDECREF(partition);
    Py_XDECREF(offset);
    Py_XDECREF(index);
    return position;
}

/* Add the digest text of a number, and note the number; return 0 if it is none. */
static int read_number(Reading *r, Blake *digest, const Literal *field, PyObject **noted)
{
    PyObject *literal = PyUnicode_DecodeUTF8(field->found, field->found_size, NULL);
    if (literal == NULL)
        return -1;
    PyObject *value = PyDict_GetItemWithError(r->numbers, literal);
    if (value != NULL)
        Py_INCREF(value);
    else if (!PyErr_Occurred())
        value = PyObject_CallFunctionObjArgs(r->number_of, literal, NULL);
    Py_DECREF(literal);
    if (value == NULL)
        return -1;
    int taken = 0;
    if (PyTuple_Check(value) && PyTuple_Size(value) == 4) {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(value, 3), &size);
        taken = text == NULL ? -1 : 1;
        if (taken > 0) {
            blake_add(digest, text, (size_t)size);
            *noted = PyTuple_GetItem(value, 0);
            Py_INCREF(*noted);
        }
    }
    Py_DECREF(value);
    return taken;
}

static int is_text(const Literal *found, const char *text)
{
    size_t size = strlen(text);
    return found->found_size == (Py_ssize_t)size + 2 && memcmp(found->found + 1, text, size) == 0;
}

/* Add the digest text of an operation, and note its text; return 0 if it is not plain. */
static int read_operation(Reading *r, Blake *digest, const Literal *wanted, PyObject **noted,
                          int *adds)
{
    const Literal *field = &wanted[0], *kind = &wanted[1];
    *adds = 1;
    if (kind->found != NULL) {
        if (kind->found[0] != '"')
            return 0;
        *adds = !is_text(kind, "remove");
        if (*adds && !is_text(kind, "add") && !is_text(kind, ""))
            return 0;
    }
    if (field->found[0] != '"' || field->found_size - 2 > r->most_text)
        return 0;
    blake_add(digest, *adds ? "add:" : "remove:", *adds ? 4 : 7);
    blake_add(digest, field->found + 1, (size_t)field->found_size - 2);
    *noted = PyUnicode_DecodeUTF8(field->found + 1, field->found_size - 2, NULL);
    return *noted == NULL ? -1 : 1;
}

static int read_amount(Reading *r, PyObject *event)
{
    PyObject *amount = field_of(event, AMOUNT);
    if (amount == NULL)
        return -1;
    int failed = 0;
    /* Of many zeros one is enough. */
    if (amount != Py_None && !(amount == r->zero && PyList_Size(r->amounts) > 0))
        failed = PyList_Append(r->amounts, amount);
    Py_DECREF(amount);
    return failed;
}

/* Read one event; return 0 if it is not plain. */
static int read_event(Reading *r, PyObject *arrival, PyObject *event, PyObject *append_time_ms,
                      PyObject *time, int64_t timestamp_ms)
{
    int64_t append_ms = PyLong_AsLongLong(append_time_ms);
    if (append_ms == -1 && PyErr_Occurred())
        return -1;
    if (timestamp_ms < r->start_ms || timestamp_ms >= r->end_ms || append_ms <= r->after_ms ||
        append_ms > r->until_ms)
        return 0;
    Blake digest;
    blake_begin(&digest, DIGEST_BYTES);
    blake_add(&digest, r->subscription, (size_t)r->subscription_size);
    blake_add(&digest, "", 1);
    if (add_text(&digest, event, TRANSACTION_ID) < 0)
        return -1;
    char time_text[24] = "";
    size_t time_size = 1 + write_number(time_text + 1, timestamp_ms);
    blake_add(&digest, time_text, time_size);
    blake_add(&digest, "", 1);
    blake_add(&digest, r->code, (size_t)r->code_size);
    blake_add(&digest, "", 1);
    if (r->field != NULL) {
        PyObject *properties = field_of(event, PROPERTIES);
        if (properties == NULL)
            return -1;
        char *text;
        Py_ssize_t size;
        Literal wanted[2] = {{r->field, NULL, r->field_size, 0},
                             {"operation_type", NULL, 14, 0}};
        PyObject *noted = NULL;
        int adds = 1, taken = PyBytes_AsStringAndSize(properties, &text, &size);
        if (taken == 0) {
            int numeric = r->numbers != Py_None;
            taken = find_members(text, size, wanted, numeric ? 1 : 2);
            if (taken > 0 && wanted[0].found == NULL)
                taken = 0;
            if (taken > 0)
                taken = numeric ? read_number(r, &digest, wanted, &noted)
                                : read_operation(r, &digest, wanted, &noted, &adds);
        }
        Py_DECREF(properties);
        if (taken <= 0) {
            Py_XDECREF(noted);
            return taken;
        }
        PyObject *position =
            r->ordered ? position_of(arrival, append_time_ms) : PyTuple_New(0);
        PyObject *found = NULL;
        if (position != NULL) {
            found = r->numbers != Py_None
                        ? PyTuple_Pack(3, noted, time, position)
                        : PyTuple_Pack(4, noted, adds ? Py_True : Py_False, time, position);
            Py_DECREF(position);
        }
        Py_DECREF(noted);
        if (found == NULL)
            return -1;
        int failed = PyList_Append(r->found, found);
        Py_DECREF(found);
        if (failed < 0)
            return -1;
    }
    if (read_amount(r, event) < 0)
        return -1;
    uint8_t bytes[DIGEST_BYTES];
    blake_end(&digest, bytes);
    uint64_t low = load_be(bytes + 8);
    r->low += low;
    r->high += load_be(bytes) + (r->low < low);
    return 1;
}

static PyObject *digest_sum(const Reading *r)
{
    PyObject *high = PyLong_FromUnsignedLongLong(r->high);
    PyObject *low = PyLong_FromUnsignedLongLong(r->low);
    PyObject *shifted = high && low ? PyNumber_Lshift(high, shift) : NULL;
    PyObject *sum = shifted ? PyNumber_Or(shifted, low) : NULL;
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(shifted);
    return sum;
}

/* Read the events of a run; return 0 if one is not plain. */
static int read_events(Reading *r, PyObject *run)
{
    Py_ssize_t size = PySequence_Size(run);
    r->high = r->low = 0;
    r->amounts = size < 0 ? NULL : PyList_New(0);
    r->found = r->amounts ? PyList_New(0) : NULL;
    int taken = r->found ? 1 : -1;
    for (Py_ssize_t i = 0; taken > 0 && i < size; i++) {
        PyObject *arrival = PySequence_GetItem(run, i);
        PyObject *event = arrival ? field_of(arrival, EVENT) : NULL;
        PyObject *append_time_ms = event ? field_of(arrival, APPEND_TIME_MS) : NULL;
        int64_t timestamp_ms;
        PyObject *time = append_time_ms ? time_of(event, append_time_ms, &timestamp_ms) : NULL;
        taken = time ? read_event(r, arrival, event, append_time_ms, time, timestamp_ms) : -1;
        Py_XDECREF(time);
        Py_XDECREF(append_time_ms);
        Py_XDECREF(event);
        Py_XDECREF(arrival);
    }
    return taken;
}

#include "straight.h"

/* arrive: an event as most are, from the bytes of its record to its place beside others like it. */

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
            memcmp(known_text, text, (size_t)size) == 0) {
            Py_INCREF(*place);
            return *place;
        }
    }
    PyObject *made = PyUnicode_FromStringAndSize(text, size);
    if (made != NULL) {
        PyObject *before = *place;
        Py_INCREF(made);
        *place = made;
        Py_XDECREF(before);
    }
    return made;
}

/* Return whether bytes are ASCII without control characters. */
static int is_ascii(const char *text, Py_ssize_t size)
{
    unsigned char odd = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        odd |= (unsigned char)((unsigned char)(text[i] - 32) >= 95);
    return !odd;
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

/* Return the time of a literal in ms, as `text_timestamp` does. */
static PyObject *moment_of(const Literal *literal, PyObject *text_timestamp)
{
    const char *p = literal->found, *end = p + literal->found_size;
    if (is_null(literal)) {
        Py_INCREF(Py_None);
        return Py_None;
    }
    int quoted = *p == '"';
    if (quoted) {
        p++;
        end--;
    } else if (*p == '-' || *p < '0' || *p > '9') {
        return NULL;
    }
    const char *digits = p;
    long long ms = 0;
    while (p < end && *p >= '0' && *p <= '9' && p - digits < 12)
        ms = 10 * ms + (*p++ - '0');
    const char *point = p;
    ms *= 1000;
    if (p > digits && p < end && *p == '.') {
        for (long long part = 100; ++p < end && *p >= '0' && *p <= '9' && part > 0; part /= 10)
            ms += part * (*p - '0');
        if (p == point + 1)
            p = digits;
    }
    if (p == end && point > digits)
        return PyLong_FromLongLong(ms);
    return quoted ? made_by(text_timestamp, literal) : NULL;
}

/* Return an arrival, made as `plain_arrival` does, and its key; NULL without an error: ask that. */
static PyObject *plain_arrival(PyObject *const *args, PyObject *const *with, PyObject *index,
                               PyObject **key)
{
    PyObject *body = args[0], *arrival = NULL;
    char *text;
    Py_ssize_t size;
    Literal found[FIELDS];
    memcpy(found, no_fields, sizeof found);
    if (PyBytes_AsStringAndSize(body, &text, &size) < 0)
        return NULL;
    if (size > MOST_BYTES || !is_ascii(text, size) || !find_members(text, size, found, FIELDS) ||
        found[SPECVERSION].found != NULL || found[OPERATION].found != NULL)
        return NULL;
    const Literal *values = &found[VALUES], *cents = &found[CENTS];
    if (values->found != NULL && values->found[0] != '{')
        return NULL;
    if (!is_null(cents) && cents->found[0] != '"')
        return NULL;
    PyObject *parts[8] = {NULL}, *event = NULL;
    for (int i = ORGANIZATION; i <= CODE; i++) {
        const char *name = found[i].found;
        Py_ssize_t length = found[i].found_size - 2;
        if (i == ORGANIZATION && is_null(&found[i]) && args[4] != Py_None) {
            Py_INCREF(Py_None);
            parts[i] = Py_None;
        } else if (name != NULL && *name == '"' && length > 0 && length <= MOST_NAME) {
            parts[i] = i == TRANSACTION ? PyUnicode_FromStringAndSize(name + 1, length)
                                        : shared_text(name + 1, length);
        }
        if (parts[i] == NULL)
            goto done;
    }
    parts[4] = moment_of(&found[TIME], with[TEXT_TIMESTAMP]);
    if (parts[4] == NULL)
        goto done;
    if (is_null(cents)) {
        Py_INCREF(Py_None);
        parts[5] = Py_None;
    } else if (cents->found_size == 5 && memcmp(cents->found, "\"0.0\"", 5) == 0) {
        Py_INCREF(with[ZERO]);
        parts[5] = with[ZERO];
    } else {
        parts[5] = made_by(with[AMOUNT_OF], cents);
    }
    if (parts[5] == NULL)
        goto done;
    parts[6] = values->found ? PyBytes_FromStringAndSize(values->found, values->found_size)
                             : PyBytes_FromStringAndSize("{}", 2);
    Py_INCREF(body);
    parts[7] = body;
    if (parts[6] != NULL)
        event = PyObject_CallFunctionObjArgs(with[EVENT_CLASS], parts[0], parts[1], parts[2],
                                             parts[3], parts[4], parts[5], parts[6], body, NULL);
    PyObject *organization = parts[0] == Py_None ? args[4] : parts[0];
    if (event != NULL)
        arrival = PyObject_CallFunctionObjArgs(with[ARRIVAL_CLASS], event, organization, args[1],
                                               args[2], args[3], index, NULL);
    if (arrival != NULL && (*key = PyTuple_Pack(3, organization, parts[1], parts[3])) == NULL)
        Py_CLEAR(arrival);
done:
    for (int i = 0; i < 8; i++)
        Py_XDECREF(parts[i]);
    Py_XDECREF(event);
    return arrival;
}

static PyObject *arrive(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *with[WAYS];
    if (count < 7 || count > 8 || !PyDict_Check(args[5]) || !PyTuple_Check(args[6]) ||
        PyTuple_Size(args[6]) != WAYS) {
        PyErr_SetString(PyExc_TypeError, "arrive takes what twin.arrive takes");
        return NULL;
    }
    for (int i = 0; i < WAYS; i++)
        with[i] = PyTuple_GetItem(args[6], i);
    PyObject *index = count > 7 ? Py_NewRef(args[7]) : PyLong_FromLong(0);
    if (index == NULL)
        return NULL;
    PyObject *key = NULL, *arrival = plain_arrival(args, with, index, &key);
    if (arrival == NULL) {
        PyObject *answer = NULL;
        if (!PyErr_Occurred())
            answer = PyObject_CallFunctionObjArgs(with[OTHERWISE], args[0], args[1], args[2],
                                                  args[3], args[4], args[5], index, NULL);
        Py_DECREF(index);
        return answer;
    }
    Py_DECREF(index);
    int failed = -1;
    PyObject *run = PyDict_GetItemWithError(args[5], key);
    if (run != NULL) {
        failed = PyList_Append(run, arrival);
    } else if (!PyErr_Occurred() && (run = PyList_New(1)) != NULL) {
        Py_INCREF(arrival);
        PyList_SetItem(run, 0, arrival);
        failed = PyDict_SetItem(args[5], key, run);
        Py_DECREF(run);
    }
    Py_DECREF(arrival);
    Py_DECREF(key);
    return failed < 0 ? NULL : PyBool_FromLong(1);
}

static PyMethodDef functions[] = {
    {"arrive", (PyCFunction)(void (*)(void))arrive, METH_FASTCALL, "See twin.arrive."},
    {"learn", learn, METH_O, "See twin.learn."},
    {"index_rows", index_rows, METH_VARARGS, "See twin.index_rows."},
    {"take_run", take_run, METH_VARARGS, "See twin.take_run."},
    {"lead", lead, METH_VARARGS, "See twin.lead."},
    {"fold_led", fold_led, METH_VARARGS, "See twin.fold_led."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernel", "What each event costs most, on its bytes.", -1, functions,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    for (int i = 0; i < NAMES; i++)
        if (names[i] == NULL && (names[i] = PyUnicode_InternFromString(spellings[i])) == NULL)
            return NULL;
    if (shift == NULL && (shift = PyLong_FromLong(64)) == NULL)
        return NULL;
    if (mask == NULL &&
        (mask = PyLong_FromString("ffffffffffffffffffffffffffffffff", NULL, 16)) == NULL)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddStringConstant(module, "SOURCE", SOURCE) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
