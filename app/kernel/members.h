/* Operations on members of unique counts: of those that have none, or one just like them. */

/* What one operation is: fields of `twin.Operations`, and of the `kind` that members keep. */
enum { OPERATION_TEXT, OPERATION_ADDS, OPERATION_MS, OPERATION_POSITION, OPERATION_FIELDS };
enum { MEMBER_PERIOD, MEMBER_CUT, MEMBER_MS, MEMBER_POSITION, MEMBER_ADDS, MEMBER_FIELDS };

/* What `take_operations` is given, all borrowed. */
typedef struct {
    PyObject *cache, *dirty, *absent, *key, *period_ms, *cut_ms, *lone, *tied, *kind;
    newfunc make;
} Sets;

static int is_tuple_of(PyObject *object, Py_ssize_t size)
{
    if (PyTuple_Check(object) && PyTuple_Size(object) == size)
        return 1;
    PyErr_SetString(PyExc_TypeError, "operations are tuples");
    return 0;
}

/* Return a tuple of the kind that members keep. `tuple` makes it: only it knows what one has. */
static PyObject *kept_operation(const Sets *s, PyObject *one, PyObject *kind)
{
    PyObject *fields = PyTuple_Pack(MEMBER_FIELDS, s->period_ms, s->cut_ms,
                                    PyTuple_GetItem(one, OPERATION_MS),
                                    PyTuple_GetItem(one, OPERATION_POSITION),
                                    PyTuple_GetItem(one, OPERATION_ADDS));
    PyObject *words = fields ? PyTuple_Pack(1, fields) : NULL;
    PyObject *made = words ? s->make((PyTypeObject *)kind, words, NULL) : NULL;
    Py_XDECREF(fields);
    Py_XDECREF(words);
    return made;
}

/* Return whether two fields are equal. */
static int are_equal(PyObject *known, int field, PyObject *other)
{
    return PyObject_RichCompareBool(PyTuple_GetItem(known, field), other, Py_EQ);
}

/* How an operation meets what is known of its member. */
enum { KEEP, KEEP_BESIDE, PASS, LEAVE };

/* Return how an operation meets the only one that is known. */
static int meets(const Sets *s, PyObject *known, PyObject *one)
{
    if (!is_tuple_of(known, MEMBER_FIELDS))
        return -1;
    int same = are_equal(known, MEMBER_PERIOD, s->period_ms);
    same = same > 0 ? are_equal(known, MEMBER_CUT, s->cut_ms) : same;
    same = same > 0 ? are_equal(known, MEMBER_ADDS, PyTuple_GetItem(one, OPERATION_ADDS)) : same;
    if (same <= 0)
        return same < 0 ? -1 : LEAVE;
    PyObject *known_ms = PyTuple_GetItem(known, MEMBER_MS);
    PyObject *timestamp_ms = PyTuple_GetItem(one, OPERATION_MS);
    int later = PyObject_RichCompareBool(known_ms, timestamp_ms, Py_GT);
    if (later != 0)
        return later < 0 ? -1 : PASS;
    same = are_equal(known, MEMBER_MS, timestamp_ms);
    if (same <= 0)
        return same < 0 ? -1 : KEEP;
    PyObject *place = PyTuple_GetItem(known, MEMBER_POSITION);
    PyObject *position = PyTuple_GetItem(one, OPERATION_POSITION);
    later = PyObject_RichCompareBool(place, position, Py_LT);
    if (later != 0)
        return later < 0 ? -1 : KEEP_BESIDE;
    same = (PyObject *)Py_TYPE(known) == s->kind;
    same = same ? 1 : PyObject_RichCompareBool(place, position, Py_EQ);
    return same < 0 ? -1 : same ? PASS : LEAVE;
}

/* Keep an operation as the only one of its member. */
static int keep_only(const Sets *s, PyObject *name, PyObject *known, PyObject *one, int met)
{
    PyObject *operation = kept_operation(s, one, met == KEEP ? s->lone : s->tied);
    if (operation && met == KEEP_BESIDE) {
        PyObject *others_until = PyTuple_GetItem(PyTuple_GetItem(known, 0), MEMBER_POSITION);
        if (PyObject_SetAttrString(operation, "others_until", others_until) < 0)
            Py_CLEAR(operation);
    }
    PyObject *member = operation ? PyTuple_Pack(1, operation) : NULL;
    Py_XDECREF(operation);
    int noted = member ? PyDict_Contains(s->dirty, name) : -1;
    if (noted == 0)
        noted = PyDict_SetItem(s->dirty, name, known);
    int failed = noted < 0 || PyDict_SetItem(s->cache, name, member) < 0;
    Py_XDECREF(member);
    return failed ? -1 : 0;
}

/* Leave an operation whose member is less simple to others. */
static int leave(const Sets *s, PyObject *name, PyObject *one, PyObject *others)
{
    PyObject *operation = kept_operation(s, one, s->kind);
    PyObject *pair = operation ? PyTuple_Pack(2, name, operation) : NULL;
    int failed = pair == NULL || PyList_Append(others, pair) < 0;
    Py_XDECREF(pair);
    Py_XDECREF(operation);
    return failed ? -1 : 0;
}

/* Return what is known of a member. */
static PyObject *member_named(const Sets *s, PyObject *name)
{
    PyObject *known = PyDict_GetItemWithError(s->cache, name);
    if (known == NULL && PyErr_Occurred())
        return NULL;
    if (known != NULL)
        Py_INCREF(known);
    else if (s->absent == Py_None)
        known = PyTuple_New(0);
    else
        known = PyObject_CallFunctionObjArgs(s->absent, name, NULL);
    if (known != NULL && !PyTuple_Check(known)) {
        PyErr_SetString(PyExc_TypeError, "members are tuples");
        Py_CLEAR(known);
    }
    return known;
}

/* Take one operation; note by how much it changes how many there are. */
static int take_operation(const Sets *s, PyObject *one, PyObject *others, Py_ssize_t *change)
{
    if (!is_tuple_of(one, OPERATION_FIELDS))
        return -1;
    PyObject *name = PyTuple_Pack(2, s->key, PyTuple_GetItem(one, OPERATION_TEXT));
    PyObject *known = name ? member_named(s, name) : NULL;
    Py_ssize_t size = known ? PyTuple_Size(known) : -1;
    int met = size < 0 ? -1 : size > 1 ? LEAVE : KEEP, adds = 0;
    if (size == 1)
        met = meets(s, PyTuple_GetItem(known, 0), one);
    else if (size == 0)
        adds = PyObject_IsTrue(PyTuple_GetItem(one, OPERATION_ADDS));
    if (met == KEEP || met == KEEP_BESIDE)
        met = adds < 0 || keep_only(s, name, known, one, met) < 0 ? -1 : met;
    if (met == LEAVE && leave(s, name, one, others) < 0)
        met = -1;
    Py_XDECREF(known);
    Py_XDECREF(name);
    *change += adds > 0;
    return met < 0 ? -1 : 0;
}

static PyObject *take_operations(PyObject *module, PyObject *args)
{
    Sets s;
    PyObject *found;
    if (!PyArg_ParseTuple(args, "O!O!OOOOO!O!O!O", &PyDict_Type, &s.cache, &PyDict_Type, &s.dirty,
                          &s.absent, &s.key, &s.period_ms, &s.cut_ms, &PyType_Type, &s.lone,
                          &PyType_Type, &s.tied, &PyType_Type, &s.kind, &found))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)s.lone, &PyTuple_Type)
        || !PyType_IsSubtype((PyTypeObject *)s.tied, &PyTuple_Type)
        || !PyType_IsSubtype((PyTypeObject *)s.kind, &PyTuple_Type)) {
        PyErr_SetString(PyExc_TypeError, "operations are tuples");
        return NULL;
    }
    s.make = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    PyObject *others = PyList_New(0), *answer = NULL;
    Py_ssize_t change = 0, size = PySequence_Size(found);
    int failed = others == NULL || size < 0;
    for (Py_ssize_t i = 0; !failed && i < size; i++) {
        PyObject *one = PySequence_GetItem(found, i);
        failed = one == NULL || take_operation(&s, one, others, &change) < 0;
        Py_XDECREF(one);
    }
    if (!failed)
        answer = Py_BuildValue("(nO)", change, others);
    Py_XDECREF(others);
    return answer;
}
