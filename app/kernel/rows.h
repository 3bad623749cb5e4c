/* Rows of the event index, and what else is noted of an event without reading its properties. */

#define ID_BYTES 12
#define ROW_BYTES 40
/* What lies anywhere in memory is fetched so many ids ahead. */
#define AHEAD 16
/* Of what ledgers sort by, the last bits are the code's. */
#define CODE_BITS 24
/* What a chunk of a ledger begins with whose events lie in arrays, were forwarded or have headers. */
#define PLACED 3

static void write_be(uint8_t *to, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

typedef struct {
    const char *organization, *subscription;
    Py_ssize_t organization_size, subscription_size;
    long long start_ms, end_ms, after_ms, until_ms;
    PyObject *hash_of, *hash_with, *packed;
    /* Ids to be ended, and where their rows are. */
    Blake ids[TOGETHER];
    Py_ssize_t at[TOGETHER];
    int waiting;
} Rows;

/* By so much the clock of a producer may be ahead; what comes longer before its time is noted. */
#define EARLY_MS 86400000

/* Until where events of a route reach that no more has to be noted of. */
typedef struct {
    int64_t newest_ms, appended_ms, raw_first, rekeyed_first;
} Reach;

/* Until when those of a run reach, and whether one is beyond the reach of its route. */
typedef struct {
    int64_t newest_ms, appended_ms;
    int farther;
} Reached;

static int is_farther(const View *v, const int64_t place[4], const Reach *reach)
{
    int is_raw = place[3] < 0;
    int64_t first = is_raw ? reach->raw_first : reach->rekeyed_first;
    return v->timestamp_ms > reach->newest_ms || v->append_ms > reach->appended_ms || first < 0 ||
           place[is_raw ? 1 : 3] < first || v->timestamp_ms - v->append_ms > EARLY_MS;
}

static void note_reach(Reached *reached, const View *v, const int64_t place[4], const Reach *reach)
{
    reached->farther = reached->farther || is_farther(v, place, reach);
    if (v->timestamp_ms > reached->newest_ms)
        reached->newest_ms = v->timestamp_ms;
    if (v->append_ms > reached->appended_ms)
        reached->appended_ms = v->append_ms;
}

/* Write the ids that wait into their rows. */
static int end_ids(Rows *r)
{
    int count = r->waiting;
    r->waiting = 0;
    if (count == 0)
        return 0;
    blake_end(r->ids, count);
    for (int i = 0; i < count; i++) {
        /* What was called may have changed the length. */
        if (PyByteArray_Size(r->packed) < r->at[i] + ROW_BYTES) {
            PyErr_SetString(PyExc_BufferError, "the rows were cut meanwhile");
            return -1;
        }
        uint8_t *row = (uint8_t *)PyByteArray_AsString(r->packed) + r->at[i];
        blake_write(&r->ids[i], row, ID_BYTES);
    }
    return 0;
}

static int is_outside(const View *v, int64_t start_ms, int64_t end_ms, int64_t after_ms,
                      int64_t until_ms)
{
    return v->timestamp_ms < start_ms || v->timestamp_ms >= end_ms || v->append_ms < after_ms ||
           v->append_ms > until_ms;
}

/* Write one row, except for its id, which waits; return 0 if the event is out of bounds. */
static int write_row(Rows *r, const View *v, const int64_t place[4], Py_ssize_t at)
{
    if (is_outside(v, r->start_ms, r->end_ms, r->after_ms, r->until_ms))
        return 0;
    const uint64_t most = 1ULL << 48;
    if ((uint64_t)v->append_ms >= most || (uint64_t)place[0] >> 16 || (uint64_t)place[1] >= most ||
        (uint64_t)place[2] >> 16 || place[3] < -1 || place[3] >= (int64_t)most - 1) {
        PyErr_SetString(PyExc_ValueError, "a field of an entry is out of its range");
        return -1;
    }
    Blake *id = &r->ids[r->waiting];
    blake_begin(id, ID_BYTES);
    blake_add(id, r->organization, (size_t)r->organization_size);
    blake_add(id, "", 1);
    blake_add(id, r->subscription, (size_t)r->subscription_size);
    blake_add(id, "", 1);
    uint64_t body;
    if (add_transaction(id, v) < 0 || hash_body(v, r->hash_of, r->hash_with, &body) < 0)
        return -1;
    r->at[r->waiting++] = at;
    if (PyByteArray_Size(r->packed) < at + ROW_BYTES) {
        PyErr_SetString(PyExc_BufferError, "the rows were cut meanwhile");
        return -1;
    }
    uint8_t *row = (uint8_t *)PyByteArray_AsString(r->packed) + at;
    write_be(row + 12, (uint64_t)v->append_ms, 6);
    write_be(row + 18, (uint64_t)place[0], 2);
    write_be(row + 20, (uint64_t)place[1], 6);
    write_be(row + 26, (uint64_t)place[2], 2);
    write_be(row + 28, place[3] < 0 ? most - 1 : (uint64_t)place[3], 6);
    write_be(row + 34, body, 6);
    return r->waiting < TOGETHER || end_ids(r) == 0 ? 1 : -1;
}

/* Append the row of each event of a run; append none and return 0 if one is out of bounds.
 * With a reach it is told how far they reach.
 */
static int add_rows(Rows *r, PyObject *run, const Reach *reach, Reached *reached)
{
    Py_ssize_t size = PySequence_Size(run);
    if (size < 0)
        return -1;
    Py_ssize_t before = PyByteArray_Size(r->packed);
    if (PyByteArray_Resize(r->packed, before + size * ROW_BYTES) < 0)
        return -1;
    int taken = 1;
    for (Py_ssize_t i = 0; taken > 0 && i < size; i++) {
        int64_t place[4];
        View v;
        taken = view_of(run, i, &v) < 0 || place_in(&v, place) < 0
                    ? -1
                    : write_row(r, &v, place, before + i * ROW_BYTES);
        if (taken > 0 && reach != NULL)
            note_reach(reached, &v, place, reach);
        end_view(&v);
    }
    if (taken > 0)
        return 1;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    while (r->waiting > 0 && r->at[r->waiting - 1] >= before)
        r->waiting--;
    if (PyByteArray_Resize(r->packed, before) < 0)
        return -1;
    PyErr_Restore(type, value, trace);
    return taken;
}

/* Find a text of MessagePack; return NULL if there is none. */
static const char *text_at(const uint8_t *row, Py_ssize_t size, Py_ssize_t at, Py_ssize_t *length)
{
    if (at < 0 || at >= size)
        return NULL;
    int kind = row[at++], digits = kind == 0xd9 ? 1 : kind == 0xda ? 2 : kind == 0xdb ? 4 : 0;
    if (size - at < digits || (!digits && (kind & 0xe0) != 0xa0))
        return NULL;
    uint64_t told = digits ? 0 : kind & 0x1f;
    for (int i = 0; i < digits; i++)
        told = told << 8 | row[at++];
    if (told > (uint64_t)(size - at))
        return NULL;
    *length = (Py_ssize_t)told;
    return (const char *)row + at;
}

/* What ids begin and end with, and how rows begin that have the subscription next. */
typedef struct {
    Blake begun;
    const char *transaction, *start;
    Py_ssize_t transaction_size, start_size;
} Under;

/* Begin the id of an event of the external subscription that a row names; return 0 for a row that
 * begins otherwise.
 */
static int begin_id_under(Blake *id, PyObject *row, const Under *under)
{
    char *bytes;
    Py_ssize_t size, length = 0;
    if (row == NULL || PyBytes_AsStringAndSize(row, &bytes, &size) < 0)
        return -1;
    if (size < under->start_size || memcmp(bytes, under->start, (size_t)under->start_size) != 0)
        return 0;
    const char *text = text_at((const uint8_t *)bytes, size, under->start_size, &length);
    if (text == NULL) {
        PyErr_SetString(PyExc_ValueError, "a row has no text there");
        return -1;
    }
    *id = under->begun;
    blake_add(id, text, (size_t)length);
    blake_add(id, "", 1);
    blake_add(id, under->transaction, (size_t)under->transaction_size);
    return 1;
}

static PyObject *event_ids(PyObject *module, PyObject *args)
{
    PyObject *rows;
    const char *organization;
    Py_ssize_t organization_size;
    Under under;
    if (!PyArg_ParseTuple(args, "O!y#s#s#", &PyList_Type, &rows, &under.start, &under.start_size,
                          &organization, &organization_size, &under.transaction,
                          &under.transaction_size))
        return NULL;
    blake_begin(&under.begun, ID_BYTES);
    blake_add(&under.begun, organization, (size_t)organization_size);
    blake_add(&under.begun, "", 1);
    Py_ssize_t count = PyList_Size(rows), ended = 0;
    uint8_t *ids = PyMem_Malloc((size_t)count * ID_BYTES + 1);
    if (ids == NULL)
        return PyErr_NoMemory();
    Blake some[TOGETHER];
    int waiting = 0, begun = 0;
    for (Py_ssize_t i = 0; begun >= 0 && i < count; i++) {
        if (i + AHEAD < count)
            __builtin_prefetch(PyList_GetItem(rows, i + AHEAD));
        begun = begin_id_under(&some[waiting], PyList_GetItem(rows, i), &under);
        waiting += begun > 0;
        if (waiting == TOGETHER || (waiting > 0 && i == count - 1)) {
            blake_end(some, waiting);
            for (int one = 0; one < waiting; one++)
                blake_write(&some[one], ids + ended++ * ID_BYTES, ID_BYTES);
            waiting = 0;
        }
    }
    PyObject *packed =
        begun < 0 ? NULL : PyBytes_FromStringAndSize((char *)ids, ended * ID_BYTES);
    PyMem_Free(ids);
    return packed;
}

static PyObject *index_rows(PyObject *module, PyObject *args)
{
    Rows r = {.waiting = 0};
    PyObject *run;
    if (!PyArg_ParseTuple(args, "s#s#OLLLLOOO!", &r.organization, &r.organization_size,
                          &r.subscription, &r.subscription_size, &run, &r.start_ms, &r.end_ms,
                          &r.after_ms, &r.until_ms, &r.hash_of, &r.hash_with, &PyByteArray_Type,
                          &r.packed))
        return NULL;
    int taken = add_rows(&r, run, NULL, NULL);
    return taken < 0 || end_ids(&r) < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *reach_of(PyObject *module, PyObject *run)
{
    Py_ssize_t size = PySequence_Size(run);
    int64_t newest_ms = INT64_MIN, since_ms = INT64_MAX, appended_ms = INT64_MIN;
    int64_t firsts[2] = {-1, -1}, place[4];
    for (Py_ssize_t i = 0; i < size; i++) {
        View v;
        int failed = view_of(run, i, &v) < 0 || place_in(&v, place) < 0;
        end_view(&v);
        if (failed)
            return NULL;
        int64_t *first = &firsts[place[3] >= 0], offset = place[place[3] >= 0 ? 3 : 1];
        if (*first < 0 || offset < *first)
            *first = offset;
        newest_ms = v.timestamp_ms > newest_ms ? v.timestamp_ms : newest_ms;
        since_ms = v.append_ms < since_ms ? v.append_ms : since_ms;
        appended_ms = v.append_ms > appended_ms ? v.append_ms : appended_ms;
    }
    if (size == 0)
        PyErr_SetString(PyExc_ValueError, "there are no events");
    if (size <= 0)
        return NULL;
    return Py_BuildValue("LLLLL", newest_ms, since_ms, appended_ms, firsts[0], firsts[1]);
}

/* The parts of a run: (key, events), and (organization, subscription, code) of the key. */
static int parts_of(PyObject *run, PyObject **key, PyObject **events)
{
    if (run == NULL || !PyTuple_Check(run) || PyTuple_Size(run) != 2 ||
        !PyTuple_Check(*key = PyTuple_GetItem(run, 0)) || PyTuple_Size(*key) != 3) {
        PyErr_SetString(PyExc_TypeError, "a run is ((organization, subscription, code), events)");
        return -1;
    }
    *events = PyTuple_GetItem(run, 1);
    return 0;
}

/* Write a text as MessagePack does, and return where it ends; with no place only count. */
static Py_ssize_t pack_text(char *p, const char *text, Py_ssize_t size)
{
    int head = size < 32 ? 1 : size < 256 ? 2 : size < 65536 ? 3 : 5;
    if (p != NULL) {
        *p = (char)(head == 1 ? 0xA0 | size : head == 2 ? 0xD9 : head == 3 ? 0xDA : 0xDB);
        write_be((uint8_t *)p + 1, (uint64_t)size, head - 1);
        memcpy(p + head, text, (size_t)size);
    }
    return head + size;
}

/* Make room for more bytes, doubled where Python itself adds an eighth: each is moved less often. */
static int grow(PyObject *buffer, Py_ssize_t more)
{
    Py_ssize_t at = PyByteArray_Size(buffer), room = 1;
    while (room <= at + more)
        room *= 2;
    return (room > 2 * at && PyByteArray_Resize(buffer, room) < 0) ||
                   PyByteArray_Resize(buffer, at + more) < 0
               ? -1
               : 0;
}

/* Return what rows of a key are sorted by: what both functions make of its parts. */
static int sort_key(PyObject *key, PyObject *hash_of, PyObject *code_key, uint64_t *found)
{
    Py_ssize_t sizes[2];
    const char *parts[2];
    for (int i = 0; i < 2; i++)
        if ((parts[i] = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(key, i), &sizes[i])) == NULL)
            return -1;
    PyObject *name = PyBytes_FromStringAndSize(NULL, sizes[0] + 1 + sizes[1]);
    if (name == NULL)
        return -1;
    char *text = PyBytes_AsString(name);
    memcpy(text, parts[0], (size_t)sizes[0] + 1);
    memcpy(text + sizes[0] + 1, parts[1], (size_t)sizes[1]);
    PyObject *first = PyObject_CallFunctionObjArgs(hash_of, name, NULL);
    PyObject *last = PyObject_CallFunctionObjArgs(code_key, PyTuple_GetItem(key, 2), NULL);
    if (first != NULL && last != NULL)
        *found = PyLong_AsUnsignedLongLong(first) >> CODE_BITS << CODE_BITS |
                 PyLong_AsUnsignedLongLong(last);
    Py_DECREF(name);
    Py_XDECREF(first);
    Py_XDECREF(last);
    return PyErr_Occurred() ? -1 : 0;
}

/* What lists are kept of events: of all, and of those that are not all that a raw record holds. */
enum { OFFSETS, APPEND_TIMES, BODIES, PARTITIONS, INDEXES, REKEYED_OFFSETS, ENVELOPES, COLUMNS };

static int64_t number_of_column(const Entry *e, int column)
{
    switch (column) {
    case OFFSETS: return e->offset;
    case APPEND_TIMES: return e->append_ms;
    case PARTITIONS: return e->partition;
    case INDEXES: return e->index;
    default: return e->rekeyed;
    }
}

/* Write the events of a key, all of which lie in their bytes. */
static int write_events(const Events *events, const char *organization, Py_ssize_t name_size,
                        PyObject *buffer)
{
    Py_ssize_t bodies = 0, at = PyByteArray_Size(buffer);
    int columns = BODIES + 1;
    for (Py_ssize_t i = 0; i < events->size; i++) {
        const Entry *e = &events->entries[i];
        bodies += e->body_size + e->envelope_size;
        if (e->index != 0 || e->rekeyed >= 0 || e->envelope_size > 0)
            columns = COLUMNS;
    }
    int texts = columns == COLUMNS ? 2 : 1;
    Py_ssize_t size = 2 + pack_text(NULL, organization, name_size) + columns * 5 + bodies +
                      events->size * (texts * 5 + (columns - texts) * 9);
    if (grow(buffer, size) < 0)
        return -1;
    char *p = PyByteArray_AsString(buffer) + at;
    /* An array: the organization, and a list for each column. */
    *p++ = columns == COLUMNS ? PLACED : 0;
    *p++ = (char)(0x91 + columns);
    p += pack_text(p, organization, name_size);
    for (int column = 0; column < columns; column++) {
        *p++ = (char)0xDD;
        write_be((uint8_t *)p, (uint64_t)events->size, 4);
        p += 4;
        for (Py_ssize_t i = 0; i < events->size; i++) {
            const Entry *e = &events->entries[i];
            if (column != BODIES && column != ENVELOPES) {
                *p++ = (char)0xD3;
                write_be((uint8_t *)p, (uint64_t)number_of_column(e, column), 8);
                p += 8;
                continue;
            }
            const char *text = column == BODIES ? e->body : e->body + e->body_size + 1;
            int32_t text_size = column == BODIES ? e->body_size : e->envelope_size;
            *p++ = (char)0xC6;
            write_be((uint8_t *)p, (uint64_t)text_size, 4);
            p += 4;
            if (text_size > 0)
                memcpy(p, text, (size_t)text_size);
            p += text_size;
        }
    }
    return 0;
}

/* Add a number to an array of them. */
static int note_number(PyObject *array, uint64_t number)
{
    Py_ssize_t at = PyByteArray_Size(array);
    if (PyByteArray_Resize(array, at + 8) < 0)
        return -1;
    memcpy(PyByteArray_AsString(array) + at, &number, 8);
    return 0;
}

static PyObject *write_plain(PyObject *module, PyObject *args)
{
    PyObject *runs, *buffer, *hash_of, *code_key, *keys, *ends, *key, *events;
    Py_ssize_t i;
    if (!PyArg_ParseTuple(args, "O!nO!OOO!O!", &PyList_Type, &runs, &i, &PyByteArray_Type, &buffer,
                          &hash_of, &code_key, &PyByteArray_Type, &keys, &PyByteArray_Type, &ends))
        return NULL;
    for (; i < PyList_Size(runs); i++) {
        if (parts_of(PyList_GetItem(runs, i), &key, &events) < 0)
            return NULL;
        int taken = Py_TYPE(events) == events_type;
        for (Py_ssize_t n = 0; taken && n < ((Events *)events)->size; n++)
            taken = ((Events *)events)->entries[n].body != NULL;
        if (!taken)
            break;
        Py_ssize_t size;
        uint64_t sorted;
        const char *organization = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(key, 0), &size);
        if (organization == NULL || sort_key(key, hash_of, code_key, &sorted) < 0 ||
            write_events((Events *)events, organization, size, buffer) < 0 ||
            note_number(keys, sorted) < 0 ||
            note_number(ends, (uint64_t)PyByteArray_Size(buffer)) < 0)
            return NULL;
    }
    return PyLong_FromSsize_t(i);
}
