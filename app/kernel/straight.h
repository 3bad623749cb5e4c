/* Events that fall straight into one cell: read, and folded into its state. */

/* What `tables.values.Reading` has. */
enum { FIELD, MOST_TEXT, NUMBERS, NUMBER_OF, ORDERED, NOTHING, ADD, APPLY, KEPT, FMA, READINGS };

static int begin_reading(Reading *r, PyObject *reading, PyObject *subscription, PyObject *code)
{
    if (!PyTuple_Check(reading) || PyTuple_Size(reading) != READINGS) {
        PyErr_SetString(PyExc_TypeError, "a reading is a tuple as tables.values.Reading");
        return -1;
    }
    r->amount = r->number = r->found = r->change = r->moment = NULL;
    PyObject *field = PyTuple_GetItem(reading, FIELD);
    r->field = field == Py_None ? NULL : PyUnicode_AsUTF8AndSize(field, &r->field_size);
    r->most_text = PyLong_AsSsize_t(PyTuple_GetItem(reading, MOST_TEXT));
    r->numbers = PyTuple_GetItem(reading, NUMBERS);
    r->number_of = PyTuple_GetItem(reading, NUMBER_OF);
    r->ordered = PyTuple_GetItem(reading, ORDERED) == Py_True;
    r->zero = PyTuple_GetItem(reading, NOTHING);
    r->add = PyTuple_GetItem(reading, ADD);
    r->kept = (int)PyLong_AsLong(PyTuple_GetItem(reading, KEPT));
    r->fma = PyTuple_GetItem(reading, FMA);
    if ((field != Py_None && r->field == NULL) || PyErr_Occurred())
        return -1;
    if (r->numbers != Py_None && !PyDict_Check(r->numbers)) {
        PyErr_SetString(PyExc_TypeError, "numbers are in a dict");
        return -1;
    }
    r->subscription = PyUnicode_AsUTF8AndSize(subscription, &r->subscription_size);
    r->code = r->subscription ? PyUnicode_AsUTF8AndSize(code, &r->code_size) : NULL;
    return r->code == NULL ? -1 : 0;
}

/* Return a field of a state; those of its own only where somebody told. */
static PyObject *kept_in(PyObject *state, const struct Layout *l, int field)
{
    PyObject *found = l ? *(PyObject **)((char *)state + l->at[field]) : NULL;
    if (found != NULL)
        return Py_NewRef(found);
    if (field < OF_OWN)
        return PyObject_GetAttrString(state, of_state[field]);
    PyErr_SetString(PyExc_AttributeError, "a state lacks a field");
    return NULL;
}

/* Put a new value, which it takes over, in a field of a state. */
static int keep(PyObject *state, const struct Layout *l, int field, PyObject *value)
{
    if (value == NULL)
        return -1;
    if (l == NULL) {
        int failed = PyObject_SetAttrString(state, of_state[field], value);
        Py_DECREF(value);
        return failed;
    }
    PyObject **place = (PyObject **)((char *)state + l->at[field]), *before = *place;
    *place = value;
    Py_XDECREF(before);
    return 0;
}

/* Return the sum of a field and an integer, which it takes over. */
static PyObject *added_to(PyObject *state, const struct Layout *l, int field, PyObject *number)
{
    PyObject *before = number ? kept_in(state, l, field) : NULL;
    PyObject *sum = before ? PyNumber_Add(before, number) : NULL;
    Py_XDECREF(before);
    Py_XDECREF(number);
    return sum;
}

/* Join what was read to what a field of a state keeps, if anything was. */
static int join_to(PyObject *state, const struct Layout *l, int field, PyObject *read, int kept,
                   const Reading *r)
{
    if (read == NULL)
        return 0;
    PyObject *number = kept_in(state, l, field);
    if (number == NULL)
        return -1;
    /* Of many zeros one is enough. */
    if (number != Py_None && read == r->zero && kept == SUMMED) {
        Py_DECREF(number);
        return 0;
    }
    if (number == Py_None)
        Py_CLEAR(number);
    if (join(&number, read, kept, r->add) == 0)
        return keep(state, l, field, number);
    Py_XDECREF(number);
    return -1;
}

/* Put what moments are read as in a state. It began with the state's own, so that each number is
 * added as `apply` does.
 */
static int keep_moments(Reading *r, PyObject *state, const struct Layout *l)
{
    PyObject *time = PyLong_FromLongLong(r->newest_ms);
    PyObject *before = time ? kept_in(state, l, OF_NEWEST) : NULL;
    int newer = before ? PyObject_RichCompareBool(time, before, Py_GT) : -1;
    Py_XDECREF(before);
    if (newer < 0) {
        Py_XDECREF(time);
        return -1;
    }
    keep(state, l, OF_OWN, Py_NewRef(r->change));
    keep(state, l, OF_MOMENT, Py_NewRef(r->moment));
    if (newer)
        return keep(state, l, OF_NEWEST, time);
    Py_DECREF(time);
    return 0;
}

static int apply_found(PyObject *apply, PyObject *state, PyObject *found)
{
    Py_ssize_t size = apply == Py_None || found == NULL ? 0 : PyList_Size(found);
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *one = PyList_GetItem(found, i);
        PyObject *applied =
            PyObject_CallFunctionObjArgs(apply, state, PyTuple_GetItem(one, 0),
                                         PyTuple_GetItem(one, 1), PyTuple_GetItem(one, 2), NULL);
        if (applied == NULL)
            return -1;
        Py_DECREF(applied);
    }
    return 0;
}

/* Count events that carry no amount: those before the first one that does from then on. */
static int count_bare(const Reading *r, PyObject *state, const struct Layout *l, Py_ssize_t events)
{
    PyObject *precise = kept_in(state, l, OF_PRECISE);
    if (precise == NULL)
        return -1;
    int is_first = precise == Py_None;
    Py_DECREF(precise);
    if (is_first ? r->carried == 0 : r->carried == events)
        return 0;
    PyObject *more = PyLong_FromSsize_t(events - r->carried);
    return keep(state, l, OF_BARE, added_to(state, l, is_first ? OF_EVENTS : OF_BARE, more));
}

/* Fold what was read into a state. */
static int fold_read(Reading *r, PyObject *reading, PyObject *state, Py_ssize_t events)
{
    const struct Layout *l = layout_of(state);
    if (count_bare(r, state, l, events) < 0)
        return -1;
    PyObject *sum = added_to(state, l, OF_DIGEST, digest_sum(r));
    PyObject *digest = sum ? PyNumber_And(sum, mask) : NULL;
    Py_XDECREF(sum);
    if (keep(state, l, OF_DIGEST, digest) < 0)
        return -1;
    sum = added_to(state, l, OF_EVENTS, PyLong_FromSsize_t(events));
    if (keep(state, l, OF_EVENTS, sum) < 0 ||
        join_to(state, l, OF_PRECISE, r->amount, SUMMED, r) < 0 ||
        join_to(state, l, OF_OWN, r->number, r->kept, r) < 0 ||
        (r->moment != NULL && events > 0 && keep_moments(r, state, l) < 0))
        return -1;
    return apply_found(PyTuple_GetItem(reading, APPLY), state, r->found);
}

/* Begin with the moments that a state has, if it keeps them. */
static int begin_moments(Reading *r, PyObject *state, const struct Layout *l)
{
    int kept = r->kept == MOMENTS;
    r->newest_ms = INT64_MIN;
    r->change = kept ? kept_in(state, l, OF_OWN) : NULL;
    r->moment = r->change ? kept_in(state, l, OF_MOMENT) : NULL;
    return kept && r->moment == NULL ? -1 : 0;
}

/* Read a run and fold it into a cell; return 0, with nothing changed, if an event is not plain.
 * Operations are noted, for they change more than the state. A cell that becomes dirty is noted.
 */
static int fold_events(Reading *r, PyObject *reading, PyObject *cell, PyObject *run,
                       PyObject *dirty, PyObject **operations)
{
    PyObject *state = field_of(cell, STATE), *was = NULL;
    if (state == NULL)
        return -1;
    const struct Layout *l = layout_of(state);
    if (l == NULL || l->at[r->kept == MOMENTS ? OF_NEWEST : OF_OWN] == 0)
        r->kept = APPLIED;
    int taken = begin_moments(r, state, l) < 0 ? -1 : read_events(r, run);
    if (taken > 0 && fold_read(r, reading, state, PySequence_Size(run)) < 0)
        taken = -1;
    if (taken > 0) {
        int is_told = r->field != NULL && r->numbers == Py_None;
        *operations = Py_NewRef(is_told && r->found != NULL ? r->found : Py_None);
        was = field_of(cell, DIRTY);
    }
    if (was == Py_False && (PyObject_SetAttr(cell, names[DIRTY], Py_True) < 0 ||
                            PyList_Append(dirty, cell) < 0))
        taken = -1;
    if (taken < 0)
        Py_CLEAR(*operations);
    Py_XDECREF(was);
    Py_DECREF(state);
    end_reading(r);
    return taken;
}

static PyObject *take_run(PyObject *module, PyObject *args)
{
    Reading r;
    PyObject *cell, *subscription, *code, *run, *reading, *dirty, *operations = NULL;
    if (!PyArg_ParseTuple(args, "OUUOLLLLOO!", &cell, &subscription, &code, &run, &r.start_ms,
                          &r.end_ms, &r.after_ms, &r.until_ms, &reading, &PyList_Type, &dirty) ||
        begin_reading(&r, reading, subscription, code) < 0)
        return NULL;
    int taken = fold_events(&r, reading, cell, run, dirty, &operations);
    if (taken < 0)
        return NULL;
    if (taken == 0)
        return Py_NewRef(Py_False);
    if (operations != Py_None)
        return operations;
    Py_DECREF(operations);
    return Py_NewRef(Py_True);
}

/* Where a route leads straight, as `tables.routing.route.Route.bounds` has it. */
typedef struct {
    int64_t start_ms, end_ms, after_ms, until_ms;
    Reach reach;
} Bounds;

/* Return 0 if the route leads nowhere straight. */
static int bounds_of(PyObject *route, Bounds *bounds)
{
    char *bytes;
    Py_ssize_t size;
    PyObject *packed = field_of(route, BOUNDS);
    int found = packed == NULL ? -1 : PyBytes_AsStringAndSize(packed, &bytes, &size);
    if (found == 0 && (found = size == sizeof *bounds))
        memcpy(bounds, bytes, sizeof *bounds);
    Py_XDECREF(packed);
    return found;
}

/* Return whether the members of a route's set are all at hand, or it has none. */
static int is_whole(PyObject *route, PyObject *complete)
{
    PyObject *key = field_of(route, SET_KEY);
    int whole = key == NULL ? -1 : key == Py_None ? 1 : PySet_Contains(complete, key);
    Py_XDECREF(key);
    return whole;
}

static int note(PyObject *list, PyObject *object)
{
    return PyList_Append(list, object);
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

static PyObject *lead(PyObject *module, PyObject *args)
{
    Rows r = {.waiting = 0};
    PyObject *runs, *routes, *complete;
    if (!PyArg_ParseTuple(args, "O!O!OOOO!", &PyList_Type, &runs, &PyDict_Type, &routes, &complete,
                          &r.hash_of, &r.hash_with, &PyByteArray_Type, &r.packed))
        return NULL;
    PyObject *parts[5];
    for (int i = 0; i < 5; i++)
        parts[i] = PyList_New(0);
    PyObject *led = parts[0], *taken_runs = parts[1], *farther = parts[2], *unsure = parts[3];
    PyObject *answer = NULL, *key, *events;
    int failed = !led || !taken_runs || !farther || !unsure || !parts[4];
    for (Py_ssize_t i = 0; !failed && i < PyList_Size(runs); i++) {
        PyObject *run = Py_XNewRef(PyList_GetItem(runs, i)), *route = NULL;
        failed = parts_of(run, &key, &events) < 0;
        if (!failed)
            route = Py_XNewRef(PyDict_GetItemWithError(routes, key));
        Bounds bounds;
        int beyond = 0, taken = 0;
        if (route != NULL)
            taken = bounds_of(route, &bounds);
        else
            failed = failed || PyErr_Occurred() != NULL;
        if (taken > 0) {
            r.start_ms = bounds.start_ms;
            r.end_ms = bounds.end_ms;
            r.after_ms = bounds.after_ms;
            r.until_ms = bounds.until_ms;
            r.organization = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(key, 0), &r.organization_size);
            r.subscription = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(key, 1), &r.subscription_size);
            taken = !r.organization || !r.subscription
                        ? -1
                        : add_rows(&r, events, &bounds.reach, &beyond);
        }
        if (taken > 0) {
            int whole = is_whole(route, complete);
            failed = whole < 0 || note(led, route) < 0 || note(taken_runs, run) < 0 ||
                     (!whole && note(unsure, run) < 0);
            PyObject *pair = failed || !beyond ? NULL : PyTuple_Pack(2, route, run);
            failed = failed || (beyond && (pair == NULL || note(farther, pair) < 0));
            Py_XDECREF(pair);
        } else if (taken == 0 && !failed) {
            failed = note(parts[4], run) < 0;
        }
        failed = failed || taken < 0;
        Py_XDECREF(route);
        Py_XDECREF(run);
    }
    if (!failed && end_ids(&r) == 0)
        answer = PyTuple_Pack(5, parts[0], parts[1], parts[2], parts[3], parts[4]);
    for (int i = 0; i < 5; i++)
        Py_XDECREF(parts[i]);
    return answer;
}

static PyObject *fold_led(PyObject *module, PyObject *args)
{
    PyObject *led, *runs, *dirty, *operations, *key, *events;
    if (!PyArg_ParseTuple(args, "O!O!O!O!", &PyList_Type, &led, &PyList_Type, &runs, &PyList_Type,
                          &dirty, &PyList_Type, &operations))
        return NULL;
    PyObject *unread = PyList_New(0);
    int failed = unread == NULL;
    for (Py_ssize_t i = 0; !failed && i < PyList_Size(runs); i++) {
        PyObject *run = PyList_GetItem(runs, i), *route = PyList_GetItem(led, i);
        if (route == NULL || parts_of(run, &key, &events) < 0)
            break;
        Reading r = {.start_ms = INT64_MIN, .end_ms = INT64_MAX, .after_ms = INT64_MIN,
                     .until_ms = INT64_MAX};
        PyObject *cell = field_of(route, CELL), *reading = cell ? field_of(route, READING) : NULL;
        PyObject *noted = NULL;
        int taken = -1;
        if (reading != NULL && begin_reading(&r, reading, PyTuple_GetItem(key, 1),
                                             PyTuple_GetItem(key, 2)) == 0)
            taken = fold_events(&r, reading, cell, events, dirty, &noted);
        if (taken == 0) {
            PyObject *place = PyLong_FromSsize_t(i);
            failed = place == NULL || note(unread, place) < 0;
            Py_XDECREF(place);
        } else if (taken > 0 && noted != Py_None) {
            PyObject *operation = PyTuple_Pack(2, route, noted);
            failed = operation == NULL || note(operations, operation) < 0;
            Py_XDECREF(operation);
        }
        failed = failed || taken < 0;
        Py_XDECREF(noted);
        Py_XDECREF(reading);
        Py_XDECREF(cell);
    }
    if (PyErr_Occurred())
        Py_CLEAR(unread);
    return unread;
}
