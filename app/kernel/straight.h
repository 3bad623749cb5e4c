/* Events that fall straight into one cell: read, and folded into its state. */

/* What `tables.values.Reading` has. */
enum { FIELD, MOST_TEXT, NUMBERS, NUMBER_OF, ORDERED, NOTHING, ADD, APPLY, READINGS };

static int begin_reading(Reading *r, PyObject *reading, PyObject *subscription, PyObject *code)
{
    if (!PyTuple_Check(reading) || PyTuple_Size(reading) != READINGS) {
        PyErr_SetString(PyExc_TypeError, "a reading is a tuple as tables.values.Reading");
        return -1;
    }
    PyObject *field = PyTuple_GetItem(reading, FIELD);
    r->field = field == Py_None ? NULL : PyUnicode_AsUTF8AndSize(field, &r->field_size);
    r->most_text = PyLong_AsSsize_t(PyTuple_GetItem(reading, MOST_TEXT));
    r->numbers = PyTuple_GetItem(reading, NUMBERS);
    r->number_of = PyTuple_GetItem(reading, NUMBER_OF);
    r->ordered = PyTuple_GetItem(reading, ORDERED) == Py_True;
    r->zero = PyTuple_GetItem(reading, NOTHING);
    if ((field != Py_None && r->field == NULL) || (r->most_text == -1 && PyErr_Occurred()))
        return -1;
    if (r->numbers != Py_None && !PyDict_Check(r->numbers)) {
        PyErr_SetString(PyExc_TypeError, "numbers are in a dict");
        return -1;
    }
    r->subscription = PyUnicode_AsUTF8AndSize(subscription, &r->subscription_size);
    r->code = r->subscription ? PyUnicode_AsUTF8AndSize(code, &r->code_size) : NULL;
    return r->code == NULL ? -1 : 0;
}

/* Put a new value in place of a field; takes it over. */
static int put(PyObject *object, int name, PyObject *value)
{
    int failed = value == NULL ? -1 : PyObject_SetAttr(object, names[name], value);
    Py_XDECREF(value);
    return failed;
}

/* Return the sum of a field and a number, which it takes over. */
static PyObject *added_to(PyObject *object, int name, PyObject *number)
{
    PyObject *before = number ? PyObject_GetAttr(object, names[name]) : NULL;
    PyObject *sum = before ? PyNumber_Add(before, number) : NULL;
    Py_XDECREF(before);
    Py_XDECREF(number);
    return sum;
}

static int add_amounts(const Reading *r, PyObject *add, PyObject *state)
{
    Py_ssize_t size = PyList_Size(r->amounts);
    PyObject *total = size ? PyObject_GetAttr(state, names[PRECISE]) : Py_NewRef(Py_None);
    PyObject *before = total;
    for (Py_ssize_t i = 0; total != NULL && i < size; i++) {
        PyObject *amount = PyList_GetItem(r->amounts, i), *sum;
        if (total != Py_None && amount == r->zero)
            continue;
        sum = total == Py_None ? Py_NewRef(amount)
                               : PyObject_CallFunctionObjArgs(add, total, amount, NULL);
        if (total != before)
            Py_DECREF(total);
        total = sum;
    }
    int failed = total == NULL || (total != before && PyObject_SetAttr(state, names[PRECISE], total) < 0);
    if (total != before)
        Py_XDECREF(total);
    Py_XDECREF(before);
    return failed ? -1 : 0;
}

/* Fold what was read into the state of a cell, and note the cell if it was not dirty. */
static int fold_read(const Reading *r, PyObject *reading, PyObject *cell, Py_ssize_t events,
                     PyObject *dirty)
{
    PyObject *state = field_of(cell, STATE), *apply = PyTuple_GetItem(reading, APPLY);
    if (state == NULL)
        return -1;
    PyObject *sum = added_to(state, DIGEST, digest_sum(r));
    int failed = put(state, DIGEST, sum ? PyNumber_And(sum, mask) : NULL) < 0 ||
                 put(state, EVENTS, added_to(state, EVENTS, PyLong_FromSsize_t(events))) < 0 ||
                 add_amounts(r, PyTuple_GetItem(reading, ADD), state) < 0;
    Py_XDECREF(sum);
    for (Py_ssize_t i = 0; !failed && apply != Py_None && i < PyList_Size(r->found); i++) {
        PyObject *found = PyList_GetItem(r->found, i);
        PyObject *applied =
            PyObject_CallFunctionObjArgs(apply, state, PyTuple_GetItem(found, 0),
                                         PyTuple_GetItem(found, 1), PyTuple_GetItem(found, 2), NULL);
        failed = applied == NULL;
        Py_XDECREF(applied);
    }
    Py_DECREF(state);
    PyObject *was = failed ? NULL : field_of(cell, DIRTY);
    if (was == Py_False)
        failed = put(cell, DIRTY, Py_NewRef(Py_True)) < 0 || PyList_Append(dirty, cell) < 0;
    Py_XDECREF(was);
    return failed ? -1 : 0;
}

/* Read a run and fold it into a cell; return 0, with nothing changed, if an event is not plain.
 * Operations are noted, for they change more than the state.
 */
static int fold_events(Reading *r, PyObject *reading, PyObject *cell, PyObject *run,
                       PyObject *dirty, PyObject **operations)
{
    int taken = read_events(r, run);
    if (taken > 0 && fold_read(r, reading, cell, PySequence_Size(run), dirty) < 0)
        taken = -1;
    if (taken > 0)
        *operations = Py_NewRef(r->field != NULL && r->numbers == Py_None ? r->found : Py_None);
    Py_XDECREF(r->amounts);
    Py_XDECREF(r->found);
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
    Rows r;
    PyObject *runs, *routes, *complete, *ids, *packed;
    if (!PyArg_ParseTuple(args, "O!O!OOOO!O!", &PyList_Type, &runs, &PyDict_Type, &routes,
                          &complete, &r.hash_of, &r.hash_with, &PyList_Type, &ids,
                          &PyByteArray_Type, &packed))
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
                        : add_rows(&r, events, ids, packed, &bounds.reach, &beyond);
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
    if (!failed)
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
