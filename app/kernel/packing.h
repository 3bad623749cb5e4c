/* Cells as the changelog has them: name and value in MessagePack, as msgspec writes it. */

/* What is longer is written in Python. */
#define PACKED_MOST 1000
#define DEEPEST 4

/* The first of the codes for a kind of value: sizes of 8, 16, 32 and 64 bits follow. */
enum { OF_UNSIGNED = 0xcc, OF_SIGNED = 0xd0, OF_BYTES = 0xc4, OF_TEXT = 0xd9, NIL = 0xc0 };
enum { FEW_ITEMS = 0x90, MOST_ITEMS = 15, SHORT_TEXT = 0xa0, MOST_SHORT = 31 };

typedef struct {
    uint8_t bytes[PACKED_MOST];
    Py_ssize_t end;
} Packed;

/* What cells are packed with: the fold version, the class of decimals. */
typedef struct {
    PyObject *version, *kind;
} Packer;

/* Write the lowest bytes of a number, most significant first. */
static Py_ssize_t write_big_endian(uint8_t *to, uint64_t number, int bytes)
{
    for (int i = bytes; i-- > 0; number >>= 8)
        to[i] = (uint8_t)number;
    return bytes;
}

/* Write an integer from 0 on; return how many bytes that are, 9 at most. */
static Py_ssize_t write_unsigned(uint8_t *to, uint64_t number)
{
    if (number < 0x80)
        return write_big_endian(to, number, 1);
    int log = number > 0xffffffff ? 3 : number > 0xffff ? 2 : number > 0xff;
    *to = (uint8_t)(OF_UNSIGNED + log);
    return 1 + write_big_endian(to + 1, number, 1 << log);
}

static Py_ssize_t write_integer(uint8_t *to, int64_t number)
{
    if (number >= 0)
        return write_unsigned(to, (uint64_t)number);
    if (number >= -32)
        return write_big_endian(to, (uint64_t)number, 1);
    int log = number < INT32_MIN ? 3 : number < INT16_MIN ? 2 : number < INT8_MIN;
    *to = (uint8_t)(OF_SIGNED + log);
    return 1 + write_big_endian(to + 1, (uint64_t)number, 1 << log);
}

/* Each of these returns 0 if Python must write it. */

static int put(Packed *p, const void *bytes, Py_ssize_t size)
{
    if (size > PACKED_MOST - p->end)
        return 0;
    memcpy(p->bytes + p->end, bytes, (size_t)size);
    p->end += size;
    return 1;
}

static int put_number(Packed *p, int64_t number)
{
    if (PACKED_MOST - p->end < 9)
        return 0;
    p->end += write_integer(p->bytes + p->end, number);
    return 1;
}

static int put_text(Packed *p, const char *text, Py_ssize_t size)
{
    uint8_t head[3] = {(uint8_t)(SHORT_TEXT + size)};
    int more = size > 0xff ? 2 : size > MOST_SHORT;
    if (more) {
        head[0] = (uint8_t)(OF_TEXT + more - 1);
        write_big_endian(head + 1, (uint64_t)size, more);
    }
    return size <= PACKED_MOST && put(p, head, 1 + more) && put(p, text, size);
}

static int put_bytes(Packed *p, const void *bytes, Py_ssize_t size)
{
    uint8_t head[2] = {OF_BYTES, (uint8_t)size};
    return size <= 0xff && put(p, head, 2) && put(p, bytes, size);
}

static int put_items(Packed *p, Py_ssize_t count)
{
    uint8_t head = (uint8_t)(FEW_ITEMS + count);
    return count <= MOST_ITEMS && put(p, &head, 1);
}

/* Put a number as `app.numbers.spelled` does. */
static int put_decimal(Packed *p, PyObject *number)
{
    Py_ssize_t size;
    PyObject *made = PyObject_Str(number);
    const char *text = made ? PyUnicode_AsUTF8AndSize(made, &size) : NULL;
    int taken = text != NULL && memchr(text, 'E', (size_t)size) == NULL &&
                (text[size - 1] >= '0' && text[size - 1] <= '9');
    if (taken && memchr(text, '.', (size_t)size) != NULL) {
        while (text[size - 1] == '0')
            size--;
        size -= text[size - 1] == '.';
    }
    /* Of a negative zero the sign goes, too. */
    int is_zero = taken && size == 2 && memcmp(text, "-0", 2) == 0;
    taken = taken && put_text(p, text + is_zero, size - is_zero);
    Py_XDECREF(made);
    return taken;
}

/* Put the sum of digests: 16 bytes. */
static int put_digest(Packed *p, PyObject *sum)
{
    PyObject *rest = PyLong_CheckExact(sum) ? PyNumber_Rshift(sum, shift) : NULL;
    uint8_t bytes[16];
    if (rest != NULL) {
        write_big_endian(bytes, PyLong_AsUnsignedLongLong(rest), 8);
        write_big_endian(bytes + 8, PyLong_AsUnsignedLongLongMask(sum), 8);
    }
    Py_XDECREF(rest);
    return rest != NULL && !PyErr_Occurred() && put_bytes(p, bytes, 16);
}

static int put_object(Packed *p, PyObject *object, PyObject *kind, int deep)
{
    Py_ssize_t size;
    if (object == NULL)
        return 0;
    if (object == Py_None) {
        uint8_t nil = NIL;
        return put(p, &nil, 1);
    }
    if (PyLong_CheckExact(object)) {
        int64_t number = PyLong_AsLongLong(object);
        return !(number == -1 && PyErr_Occurred()) && put_number(p, number);
    }
    if ((PyObject *)Py_TYPE(object) == kind)
        return put_decimal(p, object);
    if (PyUnicode_CheckExact(object)) {
        const char *text = PyUnicode_AsUTF8AndSize(object, &size);
        return text != NULL && put_text(p, text, size);
    }
    if (PyBytes_CheckExact(object)) {
        char *bytes;
        return PyBytes_AsStringAndSize(object, &bytes, &size) == 0 && put_bytes(p, bytes, size);
    }
    if (!PyTuple_Check(object) || deep == 0)
        return 0;
    size = PyTuple_Size(object);
    int taken = put_items(p, size);
    for (Py_ssize_t i = 0; taken && i < size; i++)
        taken = put_object(p, PyTuple_GetItem(object, i), kind, deep - 1);
    return taken;
}

static int put_field(Packed *p, PyObject *object, int name)
{
    return put_object(p, peek(object, name), NULL, DEEPEST);
}

/* Put a state as `tables.aggregation.Aggregation.pack` does; not one that counts bare events. */
static int put_state(Packed *p, PyObject *state, const Packer *packer)
{
    const struct Layout *l = state ? layout_of(state) : NULL;
    PyObject *bare = l ? *(PyObject **)((char *)state + l->at[OF_BARE]) : NULL;
    if (bare == NULL || PyObject_IsTrue(bare) != 0 || !put_items(p, l->fields - 1))
        return 0;
    int taken = 1;
    for (int i = 0; taken && i < l->fields; i++) {
        PyObject *field = *(PyObject **)((char *)state + l->at[i]);
        if (i == OF_DIGEST)
            taken = field != NULL && put_digest(p, field);
        else if (i != OF_BARE)
            taken = put_object(p, field, packer->kind, DEEPEST);
    }
    return taken;
}

/* Put the name of a cell: of its span, its period, its bucket and its group. */
static int put_name(Packed *p, PyObject *cell, PyObject *layer, PyObject *span_key)
{
    if (!PyTuple_Check(span_key) || PyTuple_Size(span_key) != 3 || !put_items(p, 6))
        return 0;
    for (int i = 0; i < 3; i++)
        if (!put_object(p, PyTuple_GetItem(span_key, i), NULL, 0))
            return 0;
    if (!put_field(p, layer, START_MS))
        return 0;
    PyObject *bucket = field_of(cell, FILTER_ID), *groups = bucket ? field_of(cell, GROUPS) : NULL;
    int taken = put_object(p, bucket, NULL, 0) && put_object(p, groups, NULL, DEEPEST);
    Py_XDECREF(bucket);
    Py_XDECREF(groups);
    return taken;
}

/* Put the value of a cell that has one cut: version, cuts with states, generation, and since when
 * its group is there.
 */
static int put_value(Packed *p, PyObject *cell, PyObject *state, PyObject *span, const Packer *packer)
{
    int is_group = Py_TYPE(cell) == known[FIRST];
    return put_items(p, 3 + is_group) && put_object(p, packer->version, NULL, 0) &&
           put_items(p, 1) && put_items(p, 2) && put_number(p, 0) && put_state(p, state, packer) &&
           put_field(p, span, GENERATION) && (!is_group || put_field(p, cell, FIRST));
}

/* Return a cell's name and value; NULL without an error: Python must write them. */
static PyObject *packed_plain(PyObject *cell, const Packer *packer)
{
    Packed name = {.end = 0}, value = {.end = 0};
    if (Py_TYPE(cell) != known[FIRST] && Py_TYPE(cell) != known[LATE])
        return NULL;
    PyObject *layer = field_of(cell, LAYER), *late = field_of(cell, LATE);
    PyObject *state = field_of(cell, STATE), *made = NULL;
    PyObject *span = peek(layer, SPAN), *span_key = peek(span, KEY);
    if (late == Py_None && span_key != NULL && put_name(&name, cell, layer, span_key) &&
        put_value(&value, cell, state, span, packer))
        made = Py_BuildValue("(y#y#)", name.bytes, name.end, value.bytes, value.end);
    Py_XDECREF(layer);
    Py_XDECREF(late);
    Py_XDECREF(state);
    return made;
}

static PyObject *packed_in_python(PyObject *cell)
{
    PyErr_Clear();
    PyObject *name = PyObject_CallMethod(cell, "packed_key", NULL);
    PyObject *value = name ? PyObject_CallMethod(cell, "packed", NULL) : NULL;
    PyObject *made = value ? PyTuple_Pack(2, name, value) : NULL;
    Py_XDECREF(name);
    Py_XDECREF(value);
    return made;
}

static PyObject *pack_cells(PyObject *module, PyObject *args)
{
    Packer packer;
    PyObject *cells;
    if (!PyArg_ParseTuple(args, "O!OO", &PyList_Type, &cells, &packer.version, &packer.kind))
        return NULL;
    PyObject *rows = PyList_New(0);
    for (Py_ssize_t i = 0; rows != NULL && i < PyList_Size(cells); i++) {
        PyObject *cell = Py_NewRef(PyList_GetItem(cells, i)), *row = packed_plain(cell, &packer);
        if (row == NULL)
            row = packed_in_python(cell);
        if (row == NULL || PyList_Append(rows, row) < 0)
            Py_CLEAR(rows);
        Py_XDECREF(row);
        Py_DECREF(cell);
    }
    return rows;
}
