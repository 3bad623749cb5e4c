/* From bytes to the events of a key. */

static int ways_of(PyObject *ways, PyObject *with[WAYS])
{
    if (!PyTuple_Check(ways) || PyTuple_Size(ways) != WAYS) {
        PyErr_SetString(PyExc_TypeError, "ways are a tuple as twin.arrive takes");
        return -1;
    }
    for (int i = 0; i < WAYS; i++)
        with[i] = PyTuple_GetItem(ways, i);
    return 0;
}

/* Add a packed event to the events of its key; takes its amount over. */
static int add_entry(PyObject *arrivals, PyObject *key, PyObject *ways, Entry *entry)
{
    PyObject *run = PyDict_GetItemWithError(arrivals, key);
    if (run != NULL && Py_TYPE(run) != events_type) {
        /* Others of them are arrivals already, in a list. */
        PyObject *arrival = arrival_of(entry, key, ways);
        Py_CLEAR(entry->amount);
        int failed = arrival == NULL || PyList_Append(run, arrival) < 0;
        Py_XDECREF(arrival);
        return failed ? -1 : 0;
    }
    int failed = run == NULL && PyErr_Occurred();
    PyObject *events = Py_XNewRef(run);
    if (events == NULL && !failed) {
        events = (PyObject *)new_events(key, ways);
        failed = events == NULL || PyDict_SetItem(arrivals, key, events) < 0;
    }
    failed = failed || make_room((Events *)events, 1) < 0;
    if (!failed) {
        Events *into = (Events *)events;
        Py_INCREF(entry->owner);
        into->entries[into->size++] = *entry;
    } else {
        Py_CLEAR(entry->amount);
    }
    Py_XDECREF(events);
    return failed ? -1 : 0;
}

static PyObject *arrive(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *with[WAYS], *key = NULL, *answer = NULL;
    if (count < 7 || count > 8 || !PyDict_Check(args[5])) {
        PyErr_SetString(PyExc_TypeError, "arrive takes what twin.arrive takes");
        return NULL;
    }
    char *text;
    Py_ssize_t size;
    if (ways_of(args[6], with) < 0 || PyBytes_AsStringAndSize(args[0], &text, &size) < 0)
        return NULL;
    Entry entry = {
        .owner = args[0], .amount = NULL, .append_ms = PyLong_AsLongLong(args[1]),
        .partition = (int32_t)PyLong_AsLong(args[2]), .offset = PyLong_AsLongLong(args[3]),
        .index = count > 7 ? (int32_t)PyLong_AsLong(args[7]) : 0, .rekeyed = -1,
    };
    if (PyErr_Occurred())
        return NULL;
    int taken = find_plain(text, size, args[4], with, NOT_AT_ALL, &entry, &key);
    if (taken > 0) {
        if (add_entry(args[5], key, args[6], &entry) == 0)
            answer = Py_NewRef(Py_True);
    } else if (taken == 0) {
        Py_XDECREF(entry.amount);
        PyObject *index = count > 7 ? Py_NewRef(args[7]) : PyLong_FromLong(0);
        if (index != NULL)
            answer = PyObject_CallFunctionObjArgs(with[OTHERWISE], args[0], args[1], args[2],
                                                  args[3], args[4], args[5], index, NULL);
        Py_XDECREF(index);
    }
    Py_XDECREF(key);
    return answer;
}

#define MOST_ELEMENTS 10000
#define MOST_ARRAY_BYTES 1000000

/* An element of an array, and its key. */
typedef struct {
    Entry entry;
    PyObject *key;
} Element;

/* Find the elements of an array; return how many, 0: it is none, or not all are plain. `like` has
 * where its record lies. Keys and amounts that were found are the caller's in any case.
 */
static Py_ssize_t find_elements(const Record *r, const Entry *like, int trust,
                                PyObject *default_organization, PyObject *const *with,
                                Element **found, Py_ssize_t *size)
{
    Py_ssize_t room = 0;
    const char *end = r->value + r->value_size, *p = after_white(r->value, end);
    int odd = has_odd(p, end), taken = 1;
    for (char before = '['; p < end && *p == before; before = ',') {
        const char *body = after_white(p + 1, end);
        if (*size == room) {
            room = room ? 2 * room : 64;
            Element *larger = PyMem_Realloc(*found, (size_t)room * sizeof(Element));
            if (larger == NULL) {
                PyErr_NoMemory();
                return -1;
            }
            *found = larger;
        }
        Element *element = &(*found)[*size];
        element->entry = *like;
        element->entry.index = (int32_t)*size;
        p = after_valid(body, end, MOST_LEVELS + 1, odd);
        taken = p == NULL || *size == MOST_ELEMENTS
                    ? 0
                    : find_plain(body, p - body, default_organization, with, NOT_AT_ALL,
                                 &element->entry, &element->key);
        if (taken <= 0)
            return taken;
        ++*size;
        taken = may_be_of(trust, element->key, default_organization, r);
        if (taken <= 0)
            return taken;
        p = after_white(p, end);
    }
    return p < end && *p == ']' && after_white(p + 1, end) == end ? *size : 0;
}

/* Note the elements of an array, if all are plain; return how many. */
static Py_ssize_t add_elements(const Record *r, const Entry *like, int trust,
                               PyObject *default_organization, PyObject *const *with,
                               PyObject *arrivals, PyObject *ways)
{
    Element *found = NULL;
    Py_ssize_t size = 0, taken = 0;
    const char *end = r->value + r->value_size, *p = after_white(r->value, end);
    if (r->header_count == 0 && r->value_size <= MOST_ARRAY_BYTES && p < end && *p == '[')
        taken = find_elements(r, like, trust, default_organization, with, &found, &size);
    for (Py_ssize_t i = 0; i < size; i++) {
        if (taken <= 0)
            Py_CLEAR(found[i].entry.amount);
        else if (add_entry(arrivals, found[i].key, ways, &found[i].entry) < 0)
            taken = -1;
        Py_DECREF(found[i].key);
    }
    PyMem_Free(found);
    return taken;
}

static PyObject *arrive_many(PyObject *module, PyObject *args)
{
    PyObject *object, *default_organization, *arrivals, *ways, *with[WAYS];
    Py_ssize_t place;
    long long room, each, append_ms, until_ms, partition, next;
    int trust;
    if (!PyArg_ParseTuple(args, "OnLLLLLLiOO!O", &object, &place, &room, &each, &next, &append_ms,
                          &until_ms, &partition, &trust, &default_organization, &PyDict_Type,
                          &arrivals, &ways) ||
        ways_of(ways, with) < 0)
        return NULL;
    Records *records = Py_TYPE(object) == records_type ? (Records *)object : NULL;
    Py_ssize_t taken = records != NULL && place >= 0, count = 0;
    int is_whole = 1;
    while (taken > 0 && place < records->size && room > 0) {
        const Record *r = &records->records[place];
        PyObject *key = NULL;
        int64_t at_ms = r->timestamp_ms > append_ms ? r->timestamp_ms : append_ms;
        Entry entry = {.owner = object, .append_ms = at_ms, .partition = (int32_t)partition,
                       .offset = r->offset, .rekeyed = -1};
        if (r->value_size < 0 || (at_ms > append_ms && at_ms > until_ms))
            break;
        int decided = decided_by(r);
        if (decided == OTHERWISE_DECIDED)
            break;
        if (decided == BINARY)
            taken = find_binary(r, default_organization, with, &entry, &key);
        else
            taken = find_plain(r->value, r->value_size, default_organization, with, decided, &entry,
                               &key);
        if (taken > 0) {
            taken = may_be_of(trust, key, default_organization, r);
            if (taken > 0)
                taken = add_entry(arrivals, key, ways, &entry) < 0 ? -1 : 1;
            else
                Py_CLEAR(entry.amount);
        } else if (taken == 0) {
            /* An array counts for one more than its elements. */
            taken = add_elements(r, &entry, trust, default_organization, with, arrivals, ways);
        }
        Py_XDECREF(key);
        is_whole = is_whole && (taken <= 0 || (key != NULL && decided != BINARY));
        if (entry.owner != object)
            Py_DECREF(entry.owner);
        if (taken > 0) {
            Py_ssize_t items = key == NULL ? taken + 1 : 1;
            append_ms = at_ms;
            count += items;
            room -= items * each + r->value_size;
            next = r->offset + 1;
            place++;
        }
    }
    if (taken < 0)
        return NULL;
    return Py_BuildValue("nnLLLO", place, count, room, next, append_ms,
                         is_whole ? Py_True : Py_False);
}
