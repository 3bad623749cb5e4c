/* Runs of a charge with several cells: parted by these, and each part folded into its own. */

/* Return the literals of an event's properties, or None if they are not plain. */
static PyObject *literals_of(const View *v, const Literal *names, Py_ssize_t count)
{
    Literal wanted[MOST_NAMES];
    Owned owned = {NULL, NULL, 0};
    memcpy(wanted, names, sizeof wanted);
    int found = properties_in(v, &owned);
    if (found == 0)
        found = owned.size == 0 ? 1 : find_members(owned.text, owned.size, wanted, (int)count);
    PyObject *literals = found < 0 ? NULL : found ? PyTuple_New(count) : Py_NewRef(Py_None);
    for (Py_ssize_t i = 0; found > 0 && literals != NULL && i < count; i++) {
        PyObject *one = wanted[i].found == NULL
                            ? Py_NewRef(Py_None)
                            : PyBytes_FromStringAndSize(wanted[i].found, wanted[i].found_size);
        /* It takes over `one`, also where that is NULL. */
        if (PyTuple_SetItem(literals, i, one) < 0 || one == NULL)
            Py_CLEAR(literals);
    }
    Py_XDECREF(owned.owner);
    return literals;
}

/* Add an event of a run to those of its literals. */
static int add_to_part(PyObject *parts, PyObject *literals, PyObject *run, Py_ssize_t i)
{
    Events *events = Py_TYPE(run) == events_type ? (Events *)run : NULL;
    PyObject *part = Py_XNewRef(PyDict_GetItemWithError(parts, literals));
    int failed = part == NULL && PyErr_Occurred() != NULL;
    if (part == NULL && !failed) {
        part = events ? (PyObject *)new_events(events->key, events->ways)
                      : PyList_New(0);
        failed = part == NULL || PyDict_SetItem(parts, literals, part) < 0;
    }
    if (!failed && events != NULL) {
        failed = make_room((Events *)part, 1) < 0;
        if (!failed)
            copy_entry((Events *)part, &events->entries[i]);
    } else if (!failed) {
        PyObject *one = PySequence_GetItem(run, i);
        failed = one == NULL || PyList_Append(part, one) < 0;
        Py_XDECREF(one);
    }
    Py_XDECREF(part);
    return failed ? -1 : 0;
}

/* Return the events of a run by the literals of some properties. */
static PyObject *parts_by(PyObject *run, PyObject *named)
{
    Literal names[MOST_NAMES] = {{NULL, NULL, 0, 0}};
    Py_ssize_t count = PyTuple_Size(named), size = PySequence_Size(run);
    if (count > MOST_NAMES)
        PyErr_SetString(PyExc_ValueError, "a run is split by fewer properties");
    for (Py_ssize_t i = 0; i < count && !PyErr_Occurred(); i++)
        names[i].name = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(named, i), &names[i].name_size);
    PyObject *parts = PyErr_Occurred() ? NULL : PyDict_New();
    for (Py_ssize_t i = 0; parts != NULL && i < size; i++) {
        View v;
        PyObject *literals = view_of(run, i, &v) < 0 ? NULL : literals_of(&v, names, count);
        /* One event alone is the whole part. */
        int failed = literals == NULL || (size == 1 ? PyDict_SetItem(parts, literals, run)
                                                    : add_to_part(parts, literals, run, i)) < 0;
        if (failed)
            Py_CLEAR(parts);
        Py_XDECREF(literals);
        end_view(&v);
    }
    return parts;
}

static PyObject *by_literals(PyObject *module, PyObject *args)
{
    PyObject *run, *named;
    if (!PyArg_ParseTuple(args, "OO!", &run, &PyTuple_Type, &named))
        return NULL;
    return parts_by(run, named);
}

/* Where the parts of a run lead, all borrowed. `tables.routing.route.Parting` has the first four. */
typedef struct {
    PyObject *cells, *fold, *sets, *period;
    PyObject *place_of, *complete;
} Parting;

/* Bytes of a text of which it is seen at once that it is a group. */
#define MOST_GROUP 1024

/* Return the group of a literal, None without one; NULL: somebody else has to tell, or an error. */
static PyObject *group_of(PyObject *literal)
{
    char *p;
    Py_ssize_t size;
    if (literal == Py_None)
        return Py_NewRef(Py_None);
    if (PyBytes_AsStringAndSize(literal, &p, &size) < 0)
        return NULL;
    if (size < 3 || size > MOST_GROUP || p[0] != '"' || p[1] <= ' ' || p[1] > '~')
        return NULL;
    return PyUnicode_DecodeUTF8(p + 1, size - 2, NULL);
}

/* Return the name of the cell that literals lead to, as `place_of` does; None: the events decide.
 * `places`: those of the groups, where there are no filters.
 */
static PyObject *place_of(const Parting *p, PyObject *places, PyObject *literals)
{
    Py_ssize_t count = places == Py_None ? 0 : PyTuple_Size(places);
    PyObject *groups = count > 0 ? PyTuple_New(count) : NULL, *place = NULL;
    for (Py_ssize_t i = 0; groups != NULL && i < count; i++) {
        Py_ssize_t at = PyLong_AsSsize_t(PyTuple_GetItem(places, i));
        PyObject *literal = PyTuple_GetItem(literals, at);
        PyObject *group = literal ? group_of(literal) : NULL;
        if (group == NULL || PyTuple_SetItem(groups, i, group) < 0)
            Py_CLEAR(groups);
    }
    if (groups != NULL)
        place = PyTuple_Pack(2, Py_None, groups);
    else if (!PyErr_Occurred())
        place = PyObject_CallFunctionObjArgs(p->place_of, p->fold, literals, NULL);
    Py_XDECREF(groups);
    return place;
}

/* Return the set of members of a cell, if all of them are at hand; NULL: they are not, or an error
 * is set.
 */
static PyObject *whole_set(const Parting *p, PyObject *place)
{
    PyObject *key = PyTuple_Pack(3, PyTuple_GetItem(place, 0), PyTuple_GetItem(place, 1), p->period);
    PyObject *found = key ? PyDict_GetItemWithError(p->sets, key) : NULL;
    int whole = found ? PySet_Contains(p->complete, found) : 0;
    Py_XDECREF(key);
    return whole > 0 ? Py_NewRef(found) : NULL;
}

/* Return the cell that literals lead to, with its set of members if it has one; NULL: there is no
 * such cell, or an error is set.
 */
static PyObject *aim_of(const Parting *p, PyObject *places, PyObject *literals)
{
    if (literals == Py_None)
        return NULL;
    PyObject *place = place_of(p, places, literals), *cell = NULL, *set = NULL, *aim = NULL;
    if (place != NULL && place != Py_None && !(PyTuple_Check(place) && PyTuple_Size(place) == 2))
        PyErr_SetString(PyExc_TypeError, "a cell has the name of a filter and groups");
    else if (place != NULL && place != Py_None)
        cell = PyDict_GetItemWithError(p->cells, place);
    if (cell != NULL)
        set = p->sets == Py_None ? Py_NewRef(Py_None) : whole_set(p, place);
    if (set != NULL)
        aim = PyTuple_Pack(2, cell, set);
    Py_XDECREF(set);
    Py_XDECREF(place);
    return aim;
}

/* Return where each part leads, in order; NULL: one leads to no cell, or an error is set. */
static PyObject *aims_of(const Parting *p, PyObject *parts)
{
    PyObject *places = field_of(p->fold, GROUP_PLACES), *literals, *part;
    PyObject *aims = places ? PyList_New(0) : NULL;
    Py_ssize_t next = 0;
    if (aims != NULL && places != Py_None && !PyTuple_Check(places)) {
        PyErr_SetString(PyExc_TypeError, "places of groups are a tuple");
        Py_CLEAR(aims);
    }
    while (aims != NULL && PyDict_Next(parts, &next, &literals, &part)) {
        PyObject *aim = aim_of(p, places, literals);
        if (aim == NULL || note(aims, aim) < 0)
            Py_CLEAR(aims);
        Py_XDECREF(aim);
    }
    Py_XDECREF(places);
    return aims;
}

/* What `fold_led` answers, and what it is given. */
typedef struct {
    PyObject *unread, *odd;
    PyObject *dirty, *operations, *place_of, *complete;
} Folding;

/* Note an object and let it go; it is NULL if it could not be made. */
static int note_made(PyObject *list, PyObject *made)
{
    int failed = made == NULL || note(list, made) < 0;
    Py_XDECREF(made);
    return failed ? -1 : 0;
}

/* Fold events into one cell, and note what single ones hold; return 0 if one is odd. */
static int fold_into(const Folding *f, PyObject *route, PyObject *cell, PyObject *set,
                     PyObject *reading, PyObject *key, PyObject *events)
{
    Reading r = {.start_ms = INT64_MIN, .end_ms = INT64_MAX, .after_ms = INT64_MIN,
                 .until_ms = INT64_MAX};
    PyObject *noted = NULL;
    if (begin_reading(&r, reading, PyTuple_GetItem(key, 1), PyTuple_GetItem(key, 2)) < 0)
        return -1;
    int taken = fold_events(&r, reading, cell, events, f->dirty, &noted);
    if (taken > 0 && noted != Py_None &&
        note_made(f->operations, PyTuple_Pack(4, route, cell, set, noted)) < 0)
        taken = -1;
    Py_XDECREF(noted);
    return taken;
}

/* Fold a run by its cells; return 0, with nothing changed, if one of them is not there. The parts
 * that are odd are noted.
 */
static int fold_parts(const Folding *f, PyObject *route, PyObject *reading, PyObject *run,
                      Py_ssize_t number)
{
    Parting p = {.place_of = f->place_of, .complete = f->complete};
    PyObject *key, *events, *literals, *part, *names = NULL, *parts = NULL, *aims = NULL;
    PyObject *odd = PyList_New(0), *parting = field_of(route, PARTING);
    int taken = odd == NULL || parting == NULL || parts_of(run, &key, &events) < 0 ? -1 : 1;
    if (taken > 0 && parting == Py_None)
        taken = 0;
    else if (taken > 0 && !PyArg_ParseTuple(parting, "O!OOO", &PyDict_Type, &p.cells, &p.fold,
                                            &p.sets, &p.period))
        taken = -1;
    if (taken > 0 && (names = field_of(p.fold, PLACE_NAMES)) != NULL &&
        (parts = parts_by(events, names)) != NULL)
        aims = aims_of(&p, parts);
    if (taken > 0 && (aims == NULL || PyList_Size(aims) == 0))
        taken = PyErr_Occurred() ? -1 : 0;
    Py_ssize_t next = 0;
    for (Py_ssize_t i = 0; taken > 0 && PyDict_Next(parts, &next, &literals, &part); i++) {
        PyObject *aim = PyList_GetItem(aims, i);
        int folded = fold_into(f, route, PyTuple_GetItem(aim, 0), PyTuple_GetItem(aim, 1), reading,
                               key, part);
        if (folded < 0 || (folded == 0 && note(odd, literals) < 0))
            taken = -1;
    }
    if (taken > 0 && PyList_Size(odd) > 0 && note_made(f->odd, Py_BuildValue("(nO)", number, odd)) < 0)
        taken = -1;
    Py_XDECREF(aims);
    Py_XDECREF(parts);
    Py_XDECREF(names);
    Py_XDECREF(parting);
    Py_XDECREF(odd);
    return taken;
}

static PyObject *fold_led(PyObject *module, PyObject *args)
{
    Folding f;
    PyObject *led, *runs, *key, *events;
    if (!PyArg_ParseTuple(args, "O!O!O!O!OO", &PyList_Type, &led, &PyList_Type, &runs, &PyList_Type,
                          &f.dirty, &PyList_Type, &f.operations, &f.place_of, &f.complete))
        return NULL;
    f.unread = PyList_New(0);
    f.odd = PyList_New(0);
    int failed = f.unread == NULL || f.odd == NULL;
    for (Py_ssize_t i = 0; !failed && i < PyList_Size(runs); i++) {
        fetch_runs(runs, i, PyList_Size(runs));
        fetch_cells(led, i, PyList_Size(led));
        PyObject *run = PyList_GetItem(runs, i), *route = PyList_GetItem(led, i), *set = NULL;
        if (route == NULL || parts_of(run, &key, &events) < 0)
            break;
        PyObject *cell = field_of(route, CELL), *reading = cell ? field_of(route, READING) : NULL;
        int taken = -1;
        /* A charge with several cells has none here. */
        if (reading != NULL && cell == Py_None)
            taken = fold_parts(&f, route, reading, run, i);
        else if (reading != NULL && (set = field_of(route, SET_KEY)) != NULL)
            taken = fold_into(&f, route, cell, set, reading, key, events);
        failed = taken < 0 || (taken == 0 && note_made(f.unread, PyLong_FromSsize_t(i)) < 0);
        Py_XDECREF(set);
        Py_XDECREF(reading);
        Py_XDECREF(cell);
    }
    PyObject *answer = PyErr_Occurred() ? NULL : PyTuple_Pack(2, f.unread, f.odd);
    Py_XDECREF(f.unread);
    Py_XDECREF(f.odd);
    return answer;
}
