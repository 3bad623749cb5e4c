/* Events on their way from one raw partition to another. */

#define POSITION_HEADER "meter-position"
#define MOST_NUMBER 15

/* Read a position, (append time, raw partition, raw offset, array index), where it is the only
 * header; return 0 if it is not, or is spelled another way.
 */
static int position_in(const Record *r, int64_t position[4])
{
    Headers headers = begin_headers(r);
    Header h;
    if (r->header_count != 1 || !next_header(&headers, &h) || !is_named(&h, POSITION_HEADER) ||
        h.text_size < 0)
        return 0;
    const char *p = h.text, *end = p + h.text_size;
    for (int part = 0; part < 4; part++) {
        const char *digits = p;
        int64_t number = 0;
        while (p < end && *p >= '0' && *p <= '9' && p - digits <= MOST_NUMBER)
            number = 10 * number + (*p++ - '0');
        if (p == digits || p - digits > MOST_NUMBER || (part < 3 && (p == end || *p++ != ':')))
            return 0;
        position[part] = number;
    }
    return p == end && position[1] <= INT32_MAX && position[3] <= INT32_MAX;
}

/* How far the forwards of one raw partition were taken, and what is set aside of it. */
typedef struct {
    int64_t partition, offset, index, aside_until;
    int is_new;
} Mark;

static int end_mark(const Mark *mark, PyObject *marks)
{
    if (!mark->is_new)
        return 0;
    PyObject *partition = PyLong_FromLongLong(mark->partition);
    PyObject *place = Py_BuildValue("LL", (long long)mark->offset, (long long)mark->index);
    int failed = partition == NULL || place == NULL || PyDict_SetItem(marks, partition, place) < 0;
    Py_XDECREF(partition);
    Py_XDECREF(place);
    return failed ? -1 : 0;
}

static int begin_mark(Mark *mark, int64_t partition, PyObject *marks, PyObject *asides)
{
    long long offset = -1, index = -1;
    if (end_mark(mark, marks) < 0)
        return -1;
    PyObject *number = PyLong_FromLongLong(partition);
    if (number == NULL)
        return -1;
    PyObject *known = PyDict_GetItemWithError(marks, number);
    PyObject *until = PyErr_Occurred() ? NULL : PyDict_GetItemWithError(asides, number);
    Py_DECREF(number);
    if (PyErr_Occurred() || (known != NULL && !PyArg_ParseTuple(known, "LL", &offset, &index)))
        return -1;
    *mark = (Mark){partition, offset, index, until ? PyLong_AsLongLong(until) : 0, 0};
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *arrive_forwards(PyObject *module, PyObject *args)
{
    PyObject *object, *default_organization, *marks, *asides, *arrivals, *ways, *with[WAYS];
    Py_ssize_t place;
    long long room, each, next, until_ms;
    if (!PyArg_ParseTuple(args, "OnLLLLOO!O!O!O", &object, &place, &room, &each, &next, &until_ms,
                          &default_organization, &PyDict_Type, &marks, &PyDict_Type, &asides,
                          &PyDict_Type, &arrivals, &ways) ||
        ways_of(ways, with) < 0)
        return NULL;
    Records *records = Py_TYPE(object) == records_type ? (Records *)object : NULL;
    Py_ssize_t begun = place;
    Mark mark = {-1, -1, -1, 0, 0};
    int taken = records != NULL && place >= 0;
    while (taken > 0 && place < records->size && room > 0) {
        const Record *r = &records->records[place];
        int64_t at[4];
        if (r->value_size < 0 || !position_in(r, at) || at[0] > until_ms)
            break;
        if (at[1] != mark.partition && begin_mark(&mark, at[1], marks, asides) < 0)
            return NULL;
        if (at[2] < mark.aside_until)
            break;
        if (at[2] > mark.offset || (at[2] == mark.offset && at[3] > mark.index)) {
            PyObject *key = NULL;
            Entry entry = {.owner = object, .append_ms = at[0], .partition = (int32_t)at[1],
                           .offset = at[2], .index = (int32_t)at[3], .rekeyed = r->offset};
            taken = find_plain(r->value, r->value_size, default_organization, with, NOT_AT_ALL,
                               &entry, &key);
            if (taken > 0)
                taken = add_entry(arrivals, key, ways, &entry) < 0 ? -1 : 1;
            Py_XDECREF(key);
            if (taken <= 0)
                break;
            mark.offset = at[2];
            mark.index = at[3];
            mark.is_new = 1;
        }
        room -= each + r->value_size;
        next = r->offset + 1;
        place++;
    }
    if (taken < 0 || end_mark(&mark, marks) < 0)
        return NULL;
    return Py_BuildValue("nnLL", place, place - begun, room, next);
}

static PyObject *note_leaving(PyObject *module, PyObject *args)
{
    PyObject *run, *home, *key, *leaving;
    long long from;
    if (!PyArg_ParseTuple(args, "OLOOO!", &run, &from, &home, &key, &PyList_Type, &leaving))
        return NULL;
    Events *events = Py_TYPE(run) == events_type ? (Events *)run : NULL;
    for (Py_ssize_t i = 0; events != NULL && i < events->size; i++)
        if (events->entries[i].body == NULL || events->entries[i].envelope_size > 0)
            events = NULL;
    for (Py_ssize_t i = 0; events != NULL && i < events->size; i++) {
        const Entry *e = &events->entries[i];
        if (e->offset < from)
            continue;
        char position[4 * 21];
        int size = PyOS_snprintf(position, sizeof position, "%lld:%ld:%lld:%ld",
                                 (long long)e->append_ms, (long)e->partition, (long long)e->offset,
                                 (long)e->index);
        PyObject *one = Py_BuildValue("LlO(Oy#y#())", (long long)e->offset, (long)e->index, home, key,
                                      e->body, (Py_ssize_t)e->body_size, position,
                                      (Py_ssize_t)size);
        int failed = one == NULL || PyList_Append(leaving, one) < 0;
        Py_XDECREF(one);
        if (failed)
            return NULL;
    }
    return PyBool_FromLong(events != NULL);
}
