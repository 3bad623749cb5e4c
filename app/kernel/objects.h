/* Fields of Python's objects, read where they lie once that is known. */

/* Names of the fields that are read: of an arrival, its event, a route, a cell, its state, what it
 * belongs to and the event ranges of a route.
 */
enum {
    EVENT, APPEND_TIME_MS, RAW_PARTITION, RAW_OFFSET, ARRAY_INDEX, REKEYED_OFFSET,
    TRANSACTION_ID, TIMESTAMP_MS, AMOUNT, PROPERTIES, BODY, ENVELOPE,
    BOUNDS, CELL, READING, SET_KEY, PARTING, STATE, DIRTY, PLACE_NAMES, GROUP_PLACES,
    LAYER, FILTER_ID, GROUPS, LATE, FIRST, SPAN, START_MS, KEY, GENERATION, EVENT_RANGES, NEWEST_MS,
    APPENDED_MS, NAMES
};

/* The first fields of a state, by name, where nobody told where they lie. */
static const char *const of_state[] = {"events", "digest", "precise", "bare"};

static const char *const spellings[NAMES] = {
    "event", "append_time_ms", "raw_partition", "raw_offset", "array_index", "rekeyed_offset",
    "transaction_id", "timestamp_ms", "precise_total_amount_cents", "properties", "body",
    "envelope", "bounds", "cell", "reading", "set_key", "parting", "state", "dirty", "place_names",
    "group_places", "layer", "filter_id", "groups", "late", "first", "span", "start_ms", "key",
    "generation", "event_ranges", "newest_ms", "appended_ms",
};

static PyObject *names[NAMES];

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

/* Return a field whose place is known, borrowed; NULL: of another class, or empty. */
static inline PyObject *peek(PyObject *object, int name)
{
    return object != NULL && Py_TYPE(object) == known[name]
               ? *(PyObject **)((char *)object + places[name])
               : NULL;
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

/* The fields that all states begin with, and the first of their own. One that keeps moments has
 * three.
 */
enum { OF_EVENTS, OF_DIGEST, OF_PRECISE, OF_BARE, OF_OWN, OF_MOMENT, OF_NEWEST, OF_STATE };

/* Where states of some types have them. */
static struct Layout {
    PyTypeObject *type;
    int fields;
    Py_ssize_t at[OF_STATE];
} layouts[16];

/* Return where an object has its fields; NULL: nobody told. */
static inline const struct Layout *layout_of(PyObject *object)
{
    for (const struct Layout *l = layouts; l < layouts + 16 && l->type != NULL; l++)
        if (l->type == Py_TYPE(object))
            return l;
    return NULL;
}

/* learn_state: find out where states of a type have their first fields, which differ. */
static PyObject *learn_state(PyObject *module, PyObject *args)
{
    PyObject *state, *fields;
    if (!PyArg_ParseTuple(args, "OO!", &state, &PyTuple_Type, &fields))
        return NULL;
    PyObject *size = PyObject_GetAttrString((PyObject *)Py_TYPE(state), "__basicsize__");
    Py_ssize_t bytes = size ? PyLong_AsSsize_t(size) : -1, word = sizeof(PyObject *);
    Py_XDECREF(size);
    struct Layout *l = layouts, found = {Py_TYPE(state), 0, {0}};
    while (l < layouts + 16 && l->type != NULL && l->type != found.type)
        l++;
    Py_ssize_t count = PyTuple_Size(fields);
    int all = count >= OF_OWN;
    found.fields = count <= OF_STATE ? (int)count : 0;
    for (int i = 0; i < OF_STATE && i < count; i++) {
        PyObject *field = PyTuple_GetItem(fields, i);
        for (Py_ssize_t at = sizeof(PyObject); at + word <= bytes && !found.at[i]; at += word)
            if (*(PyObject **)((char *)state + at) == field)
                found.at[i] = at;
        all = all && found.at[i];
    }
    if (l < layouts + 16 && all) {
        if (l->type == NULL)
            Py_INCREF((PyObject *)found.type);
        *l = found;
    }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static int number_in(PyObject *object, int name, int64_t *number)
{
    PyObject *found = field_of(object, name);
    if (found == NULL)
        return -1;
    *number = PyLong_AsLongLong(found);
    Py_DECREF(found);
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Put a number in a field that has a lesser one. */
static int raise_to(PyObject *object, int name, int64_t number)
{
    int64_t before;
    if (number_in(object, name, &before) < 0)
        return -1;
    PyObject *value = number > before ? PyLong_FromLongLong(number) : NULL;
    if (value == NULL)
        return number > before ? -1 : 0;
    int failed = 0;
    if (Py_TYPE(object) == known[name]) {
        PyObject **place = (PyObject **)((char *)object + places[name]), *old = *place;
        *place = Py_NewRef(value);
        Py_XDECREF(old);
    } else
        failed = PyObject_SetAttr(object, names[name], value);
    Py_DECREF(value);
    return failed;
}
