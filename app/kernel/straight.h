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
    r->is_computed = PyTuple_Check(field);
    Py_ssize_t count = r->is_computed ? PyTuple_Size(field) : field != Py_None;
    if (count > MOST_NAMES) {
        PyErr_SetString(PyExc_ValueError, "a value is computed of fewer properties");
        return -1;
    }
    r->count = (int)count;
    for (int i = 0; i < r->count; i++) {
        PyObject *name = r->is_computed ? PyTuple_GetItem(field, i) : field;
        r->names[i] = (Literal){NULL, NULL, 0, 0};
        r->names[i].name = PyUnicode_AsUTF8AndSize(name, &r->names[i].name_size);
    }
    r->most_text = PyLong_AsSsize_t(PyTuple_GetItem(reading, MOST_TEXT));
    r->numbers = PyTuple_GetItem(reading, NUMBERS);
    r->number_of = PyTuple_GetItem(reading, NUMBER_OF);
    r->ordered = PyTuple_GetItem(reading, ORDERED) == Py_True;
    r->zero = PyTuple_GetItem(reading, NOTHING);
    r->add = PyTuple_GetItem(reading, ADD);
    r->kept = (int)PyLong_AsLong(PyTuple_GetItem(reading, KEPT));
    r->fma = PyTuple_GetItem(reading, FMA);
    if (PyErr_Occurred())
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
        int is_told = r->count > 0 && r->numbers == Py_None;
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

/* Split a run in two: the events that are not chosen, and those that are. */
static int split_run(PyObject *run, const uint8_t *chosen, PyObject *parts[2])
{
    Events *events = Py_TYPE(run) == events_type ? (Events *)run : NULL, *halves[2] = {NULL, NULL};
    Py_ssize_t size = PySequence_Size(run), counts[2] = {0, 0};
    for (Py_ssize_t i = 0; i < size; i++)
        counts[chosen[i]]++;
    parts[0] = parts[1] = NULL;
    for (int half = 0; half < 2; half++) {
        if (events == NULL) {
            parts[half] = PyList_New(0);
            continue;
        }
        halves[half] = new_events(events->key, events->ways);
        parts[half] = (PyObject *)halves[half];
        if (parts[half] != NULL && make_room(halves[half], counts[half]) < 0)
            Py_CLEAR(parts[half]);
    }
    int failed = parts[0] == NULL || parts[1] == NULL;
    for (Py_ssize_t i = 0; !failed && i < size; i++) {
        if (events != NULL) {
            copy_entry(halves[chosen[i]], &events->entries[i]);
            continue;
        }
        PyObject *one = PySequence_GetItem(run, i);
        failed = one == NULL || PyList_Append(parts[chosen[i]], one) < 0;
        Py_XDECREF(one);
    }
    for (int half = 0; failed && half < 2; half++)
        Py_CLEAR(parts[half]);
    return failed ? -1 : 0;
}

static PyObject *apart(PyObject *module, PyObject *args)
{
    PyObject *run, *places, *parts[2], *answer = NULL;
    if (!PyArg_ParseTuple(args, "OO!", &run, &PyList_Type, &places))
        return NULL;
    Py_ssize_t size = PySequence_Size(run);
    uint8_t *chosen = size < 0 ? NULL : PyMem_Calloc((size_t)size + 1, 1);
    if (chosen == NULL)
        return size < 0 ? NULL : PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < PyList_Size(places) && !PyErr_Occurred(); i++) {
        Py_ssize_t place = PyLong_AsSsize_t(PyList_GetItem(places, i));
        if (place >= 0 && place < size)
            chosen[place] = 1;
        else if (!PyErr_Occurred())
            PyErr_SetString(PyExc_IndexError, "there is no such event");
    }
    if (!PyErr_Occurred() && split_run(run, chosen, parts) == 0)
        answer = Py_BuildValue("(NN)", parts[0], parts[1]);
    PyMem_Free(chosen);
    return answer;
}

/* Take the events of a run that are in bounds apart; return how many these are, 0 if none is, and
 * the two parts with the run's key. Whoever finds an event out of bounds asks.
 */
static Py_ssize_t in_bounds(PyObject *key, PyObject *events, const Bounds *b, PyObject *parts[2])
{
    Py_ssize_t size = PySequence_Size(events), inside = 0;
    uint8_t *outside = size < 0 ? NULL : PyMem_Calloc((size_t)size + 1, 1);
    if (outside == NULL) {
        if (size >= 0)
            PyErr_NoMemory();
        return -1;
    }
    PyObject *halves[2];
    for (Py_ssize_t i = 0; inside >= 0 && i < size; i++) {
        View v;
        if (view_of(events, i, &v) < 0)
            inside = -1;
        else if (is_outside(&v, b->start_ms, b->end_ms, b->after_ms, b->until_ms))
            outside[i] = 1;
        else
            inside++;
        end_view(&v);
    }
    if (inside > 0 && split_run(events, outside, halves) < 0)
        inside = -1;
    PyMem_Free(outside);
    for (int half = 0; inside > 0 && half < 2; half++)
        parts[half] = Py_BuildValue("(ON)", key, halves[half]);
    if (inside > 0 && (parts[0] == NULL || parts[1] == NULL))
        inside = -1;
    return inside;
}

/* What `lead` answers: routes, their runs, some of these, and what is left. */
enum { LED, RUNS, FARTHER, UNSURE, REST, ANSWERS };

/* Extend the event ranges of a route, of which nothing else has to be noted. */
static int extend_ranges(PyObject *route, const Reached *reached)
{
    PyObject *ranges = field_of(route, EVENT_RANGES);
    int failed = ranges == NULL || raise_to(ranges, NEWEST_MS, reached->newest_ms) < 0 ||
                 raise_to(ranges, APPENDED_MS, reached->appended_ms) < 0;
    Py_XDECREF(ranges);
    return failed ? -1 : 0;
}

/* Take a run of a route straight if all of its events are in bounds; return 0 if not. */
static int lead_run(Rows *r, PyObject *route, PyObject *run, const Bounds *b, PyObject *complete,
                    PyObject *answers[ANSWERS])
{
    PyObject *key, *events;
    if (parts_of(run, &key, &events) < 0)
        return -1;
    Reached reached = {INT64_MIN, INT64_MIN, 0};
    r->start_ms = b->start_ms;
    r->end_ms = b->end_ms;
    r->after_ms = b->after_ms;
    r->until_ms = b->until_ms;
    r->organization = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(key, 0), &r->organization_size);
    r->subscription = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(key, 1), &r->subscription_size);
    if (!r->organization || !r->subscription)
        return -1;
    int taken = add_rows(r, events, &b->reach, &reached);
    if (taken <= 0)
        return taken;
    int whole = is_whole(route, complete);
    int failed = whole < 0 || note(answers[LED], route) < 0 || note(answers[RUNS], run) < 0 ||
                 (!whole && note(answers[UNSURE], run) < 0);
    if (!failed && !reached.farther)
        failed = extend_ranges(route, &reached) < 0;
    PyObject *pair = failed || !reached.farther ? NULL : PyTuple_Pack(2, route, run);
    failed = failed || (reached.farther && (pair == NULL || note(answers[FARTHER], pair) < 0));
    Py_XDECREF(pair);
    return failed ? -1 : 1;
}

/* Among a million cells each is read from far memory, one object after another. What runs need that
 * come so much later is fetched meanwhile; what that leads to, so much before them again.
 */
#define RUNS_AHEAD 6

static inline void fetch(const void *place)
{
    if (place != NULL)
        __builtin_prefetch(place);
}

/* Return what a list of runs, or of routes, has at a place; NULL: nothing. */
static inline PyObject *one_at(PyObject *list, Py_ssize_t i, Py_ssize_t size)
{
    return i < size ? PyList_GetItem(list, i) : NULL;
}

/* Return the key or the events of a run; NULL: it is none. */
static inline PyObject *part_at(PyObject *runs, Py_ssize_t i, Py_ssize_t size, int part)
{
    PyObject *run = one_at(runs, i, size);
    return run && PyTuple_Check(run) && PyTuple_Size(run) == 2 ? PyTuple_GetItem(run, part) : NULL;
}

/* Fetch the runs that come next, with their events. */
static void fetch_runs(PyObject *runs, Py_ssize_t i, Py_ssize_t size)
{
    fetch(one_at(runs, i + 3 * RUNS_AHEAD, size));
    fetch(part_at(runs, i + 2 * RUNS_AHEAD, size, 0));
    fetch(part_at(runs, i + 2 * RUNS_AHEAD, size, 1));
    PyObject *events = part_at(runs, i + RUNS_AHEAD, size, 1);
    if (events != NULL && Py_TYPE(events) == events_type)
        fetch(((Events *)events)->entries);
}

/* Fetch the cells that come next, with their states and what these keep. */
static void fetch_cells(PyObject *led, Py_ssize_t i, Py_ssize_t size)
{
    PyObject *route = one_at(led, i + 4 * RUNS_AHEAD, size);
    if (route != NULL) {
        fetch(route);
        fetch((char *)route + places[CELL]);
    }
    fetch(peek(one_at(led, i + 3 * RUNS_AHEAD, size), CELL));
    PyObject *state = peek(peek(one_at(led, i + 2 * RUNS_AHEAD, size), CELL), STATE);
    if (state != NULL) {
        fetch(state);
        fetch((char *)state + 64);
    }
    state = peek(peek(one_at(led, i + RUNS_AHEAD, size), CELL), STATE);
    const struct Layout *l = state ? layout_of(state) : NULL;
    for (int field = OF_EVENTS; l != NULL && field <= OF_OWN; field++)
        if (l->at[field])
            fetch(*(PyObject **)((char *)state + l->at[field]));
}

/* How many routes are looked up at once. */
#define BLOCK 32

/* Look up the routes of the runs that come next, each NULL if there is none, and fetch them. */
static int find_routes(PyObject *routes, PyObject *runs, Py_ssize_t first, PyObject *found[BLOCK])
{
    PyObject *key, *events;
    Py_ssize_t size = PyList_Size(runs) - first, count = size < BLOCK ? size : BLOCK;
    for (Py_ssize_t i = 0; i < count; i++) {
        fetch_runs(runs, first + i, first + size);
        if (parts_of(PyList_GetItem(runs, first + i), &key, &events) < 0)
            return -1;
        found[i] = Py_XNewRef(PyDict_GetItemWithError(routes, key));
        if (found[i] == NULL && PyErr_Occurred())
            return -1;
        if (found[i] != NULL)
            fetch((char *)found[i] + places[BOUNDS]);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *bounds = peek(found[i], BOUNDS);
        if (bounds != NULL) {
            fetch((char *)bounds + 32);
            fetch((char *)bounds + 64);
        }
        PyObject *ranges = peek(found[i], EVENT_RANGES);
        if (ranges != NULL)
            fetch((char *)ranges + places[NEWEST_MS]);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *ranges = peek(found[i], EVENT_RANGES);
        fetch(peek(ranges, NEWEST_MS));
        fetch(peek(ranges, APPENDED_MS));
    }
    return 0;
}

static PyObject *lead(PyObject *module, PyObject *args)
{
    Rows r = {.waiting = 0};
    PyObject *runs, *routes, *complete;
    if (!PyArg_ParseTuple(args, "O!O!OOOO!", &PyList_Type, &runs, &PyDict_Type, &routes, &complete,
                          &r.hash_of, &r.hash_with, &PyByteArray_Type, &r.packed))
        return NULL;
    PyObject *answers[ANSWERS], *answer = NULL, *key, *events, *found[BLOCK] = {NULL};
    int failed = 0;
    for (int i = 0; i < ANSWERS; i++)
        failed = (answers[i] = PyList_New(0)) == NULL || failed;
    for (Py_ssize_t i = 0; !failed && i < PyList_Size(runs); i++) {
        failed = i % BLOCK == 0 && find_routes(routes, runs, i, found) < 0;
        PyObject *run = Py_XNewRef(PyList_GetItem(runs, i)), *route = found[i % BLOCK];
        PyObject *parts[2] = {NULL, NULL};
        Bounds bounds;
        found[i % BLOCK] = NULL;
        failed = failed || parts_of(run, &key, &events) < 0;
        int taken = failed ? -1 : route == NULL ? 0 : bounds_of(route, &bounds), aimed = taken > 0;
        if (aimed)
            taken = lead_run(&r, route, run, &bounds, complete, answers);
        /* An event that is late takes no others with it. */
        Py_ssize_t inside = aimed && taken == 0 ? in_bounds(key, events, &bounds, parts) : 0;
        if (inside > 0)
            taken = lead_run(&r, route, parts[0], &bounds, complete, answers) > 0 ? 0 : -1;
        failed = taken < 0 || inside < 0 ||
                 (taken == 0 && note(answers[REST], inside ? parts[1] : run) < 0);
        Py_XDECREF(parts[0]);
        Py_XDECREF(parts[1]);
        Py_XDECREF(route);
        Py_XDECREF(run);
    }
    if (!failed && end_ids(&r) == 0)
        answer = PyTuple_Pack(ANSWERS, answers[LED], answers[RUNS], answers[FARTHER],
                              answers[UNSURE], answers[REST]);
    for (int i = 0; i < ANSWERS; i++)
        Py_XDECREF(answers[i]);
    for (int i = 0; i < BLOCK; i++)
        Py_XDECREF(found[i]);
    return answer;
}
