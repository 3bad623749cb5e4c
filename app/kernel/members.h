/* Operations on members of unique counts: of those that have none, or one just like them. */

/* What one operation is, as `twin_members` has it. */
enum { OPERATION_TEXT, OPERATION_ADDS, OPERATION_MS, OPERATION_POSITION, OPERATION_FIELDS };
enum { POSITION_FIELDS = 4, HEAD_MOST = 20, ROW_MOST = 128 };

/* How MessagePack writes whether an operation adds, and arrays. */
enum { REMOVES = 0xc2, ADDS = 0xc3, ARRAY_OF_ONE = 0x91, ARRAY_OF_FOUR = 0x94 };

/* What `take_operations` is given, all borrowed. */
typedef struct {
    PyObject *rows, *dirty, *absent;
    const uint8_t *head;
    Py_ssize_t head_size;
} Set;

/* A member of one operation: where its event time, its position and its end are. */
typedef struct {
    uint8_t bytes[ROW_MOST];
    Py_ssize_t time, position, end;
} Row;

static int is_tuple_of(PyObject *object, Py_ssize_t size)
{
    if (PyTuple_Check(object) && PyTuple_Size(object) == size)
        return 1;
    PyErr_SetString(PyExc_TypeError, "operations are tuples");
    return 0;
}

static void put_integer(Row *row, PyObject *object)
{
    row->end += write_unsigned(row->bytes + row->end, PyLong_AsUnsignedLongLong(object));
}

/* Write the member that has an operation alone. */
static int write_member(const Set *s, PyObject *one, Row *row)
{
    PyObject *position = PyTuple_GetItem(one, OPERATION_POSITION);
    int adds = PyObject_IsTrue(PyTuple_GetItem(one, OPERATION_ADDS));
    if (adds < 0 || !is_tuple_of(position, POSITION_FIELDS))
        return -1;
    memcpy(row->bytes, s->head, s->head_size);
    row->time = row->end = s->head_size;
    put_integer(row, PyTuple_GetItem(one, OPERATION_MS));
    row->position = row->end;
    row->bytes[row->end++] = ARRAY_OF_FOUR;
    for (int i = 0; i < POSITION_FIELDS; i++)
        put_integer(row, PyTuple_GetItem(position, i));
    row->bytes[row->end++] = adds ? ADDS : REMOVES;
    return PyErr_Occurred() ? -1 : 0;
}

/* Return where a member ends, and what is known of it begins. */
static Py_ssize_t member_end(const uint8_t *row, Py_ssize_t size)
{
    if (size == 0 || row[size - 1] >= REMOVES)
        return size;
    return size < 2 ? 0 : size - 2 - row[size - 2];
}

/* How an operation meets what is known of its member. */
enum { KEEP, PASS, LEAVE };

/* Return how an operation meets the only one that is known; note who shares its time. */
static int meets(const uint8_t *known, Py_ssize_t size, Row *row)
{
    Py_ssize_t end = member_end(known, size), time = row->time, position = row->position;
    if (end <= time || memcmp(known, row->bytes, time)
        || known[end - 1] != row->bytes[row->end - 1])
        return LEAVE;
    int shares = end > position && memcmp(known + time, row->bytes + time, position - time) == 0;
    Py_ssize_t least = end < row->end ? end : row->end;
    int order = memcmp(known + time, row->bytes + time, least - 1 - time);
    if (order >= 0)
        return shares && order > 0 ? LEAVE : PASS;
    if (shares) {
        const uint8_t *appended = known + position + 1;
        int wide = *appended < 0x80 ? 1 : 1 + (1 << (*appended & 3));
        row->bytes[row->end++] = ARRAY_OF_ONE;
        memcpy(row->bytes + row->end, appended, wide);
        row->end += wide;
        row->bytes[row->end++] = (uint8_t)(1 + wide);
        row->bytes[row->end++] = 0;
    }
    return KEEP;
}

/* Return what is known of a member. */
static PyObject *row_of(const Set *s, PyObject *text)
{
    PyObject *known = PyDict_GetItemWithError(s->rows, text);
    if (known == NULL && PyErr_Occurred())
        return NULL;
    if (known != NULL)
        Py_INCREF(known);
    else if (s->absent == Py_None)
        known = PyBytes_FromStringAndSize(NULL, 0);
    else
        known = PyObject_CallFunctionObjArgs(s->absent, text, NULL);
    if (known != NULL && !PyBytes_Check(known)) {
        PyErr_SetString(PyExc_TypeError, "members are bytes");
        Py_CLEAR(known);
    }
    return known;
}

/* Keep the row of a member. */
static int keep_row(const Set *s, PyObject *text, PyObject *known, const Row *row)
{
    int noted = PyDict_Contains(s->dirty, text);
    if (noted == 0)
        noted = PyDict_SetItem(s->dirty, text, known);
    PyObject *kept = noted < 0 ? NULL : PyBytes_FromStringAndSize((char *)row->bytes, row->end);
    int failed = kept == NULL || PyDict_SetItem(s->rows, text, kept) < 0;
    Py_XDECREF(kept);
    return failed ? -1 : 0;
}

/* Take one operation; note by how much it changes how many there are. */
static int take_operation(const Set *s, PyObject *one, PyObject *others, Py_ssize_t *change)
{
    if (!is_tuple_of(one, OPERATION_FIELDS))
        return -1;
    PyObject *text = PyTuple_GetItem(one, OPERATION_TEXT);
    Row row;
    PyObject *known = row_of(s, text);
    if (known == NULL || write_member(s, one, &row) < 0) {
        Py_XDECREF(known);
        return -1;
    }
    Py_ssize_t size = PyBytes_Size(known);
    int met = size ? meets((uint8_t *)PyBytes_AsString(known), size, &row) : KEEP;
    *change += size == 0 && row.bytes[row.end - 1] == ADDS;
    int failed = 0;
    if (met == KEEP)
        failed = keep_row(s, text, known, &row);
    else if (met == LEAVE)
        failed = PyList_Append(others, one);
    Py_DECREF(known);
    return failed;
}

static PyObject *take_operations(PyObject *module, PyObject *args)
{
    Set s;
    PyObject *found;
    if (!PyArg_ParseTuple(args, "O!O!Oy#O", &PyDict_Type, &s.rows, &PyDict_Type, &s.dirty,
                          &s.absent, &s.head, &s.head_size, &found))
        return NULL;
    if (s.head_size > HEAD_MOST) {
        PyErr_SetString(PyExc_TypeError, "a head is an array, a period and a cut");
        return NULL;
    }
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
