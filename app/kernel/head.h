/* The head of an event index: its last rows, as they came, and a table of where each id lies. */

typedef struct {
    PyObject_HEAD
    uint8_t *rows;
    uint32_t *slots; /* Number of a row, from 1; 0: nothing. */
    Py_ssize_t size, room;
    uint32_t mask; /* Twice as many slots as there is room, less one. */
} Head;

static PyTypeObject *head_type;

#define LEAST_ROOM 64

/* Numbers that no producer knows, who could choose ids of one slot otherwise. */
static uint64_t secrets[2];

static int choose_secrets(void)
{
    for (int i = 0; i < 2 && !PyErr_Occurred(); i++) {
        PyObject *text = PyUnicode_FromFormat("slot of an id: %d", i);
        secrets[i] = (text ? (uint64_t)PyObject_Hash(text) : 0) * 2 + 1;
        Py_XDECREF(text);
    }
    return PyErr_Occurred() ? -1 : 0;
}

static inline uint32_t slot_of(const uint8_t *id, uint32_t mask)
{
    uint64_t first;
    uint32_t last;
    memcpy(&first, id, sizeof first);
    memcpy(&last, id + sizeof first, sizeof last);
    return (uint32_t)((first * secrets[0] + last * secrets[1]) >> 32) & mask;
}

/* Return the slot of an id, or the free one where it would be. */
static inline uint32_t *find_slot(const Head *self, const uint8_t *id)
{
    uint32_t slot = slot_of(id, self->mask);
    while (self->slots[slot] != 0 &&
           memcmp(self->rows + (size_t)(self->slots[slot] - 1) * ROW_BYTES, id, ID_BYTES) != 0)
        slot = (slot + 1) & self->mask;
    return &self->slots[slot];
}

static int make_head(Head *self, Py_ssize_t more)
{
    if (self->size + more <= self->room)
        return 0;
    Py_ssize_t room = self->room ? self->room : LEAST_ROOM;
    while (room < self->size + more)
        room *= 2;
    if (room > INT32_MAX / 4) {
        PyErr_SetString(PyExc_OverflowError, "the head of an index has too many rows");
        return -1;
    }
    uint8_t *rows = PyMem_Realloc(self->rows, (size_t)room * ROW_BYTES);
    if (rows != NULL)
        self->rows = rows;
    uint32_t *slots = rows ? PyMem_Calloc(2 * (size_t)room, sizeof *slots) : NULL;
    if (slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    PyMem_Free(self->slots);
    self->slots = slots;
    self->room = room;
    self->mask = (uint32_t)(2 * room - 1);
    for (Py_ssize_t i = 0; i < self->size; i++)
        *find_slot(self, self->rows + i * ROW_BYTES) = (uint32_t)(i + 1);
    return 0;
}

static PyObject *new_head(PyTypeObject *type, PyObject *args, PyObject *named)
{
    Head *self = PyObject_New(Head, type);
    if (self != NULL) {
        self->rows = NULL;
        self->slots = NULL;
        self->size = self->room = 0;
        self->mask = 0;
        if (make_head(self, 1) < 0)
            Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static void free_head(PyObject *object)
{
    Head *self = (Head *)object;
    PyMem_Free(self->rows);
    PyMem_Free(self->slots);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_Free(object);
    Py_DECREF(type);
}

/* Return rows of 40 bytes each, and how many there are. */
static const uint8_t *rows_in(PyObject *packed, Py_ssize_t *count)
{
    const char *bytes = NULL;
    Py_ssize_t size = 0;
    if (PyByteArray_Check(packed)) {
        bytes = PyByteArray_AsString(packed);
        size = PyByteArray_Size(packed);
    } else if (PyBytes_AsStringAndSize(packed, (char **)&bytes, &size) < 0) {
        return NULL;
    }
    *count = size / ROW_BYTES;
    if (size % ROW_BYTES == 0)
        return (const uint8_t *)bytes;
    PyErr_SetString(PyExc_ValueError, "rows have 40 bytes each");
    return NULL;
}

static PyObject *append_rows(PyObject *object, PyObject *packed)
{
    Head *self = (Head *)object;
    Py_ssize_t count;
    const uint8_t *rows = rows_in(packed, &count);
    if (rows == NULL || make_head(self, count) < 0)
        return NULL;
    memcpy(self->rows + self->size * ROW_BYTES, rows, (size_t)count * ROW_BYTES);
    for (Py_ssize_t i = 0; i < count; i++, self->size++)
        *find_slot(self, self->rows + self->size * ROW_BYTES) = (uint32_t)(self->size + 1);
    Py_RETURN_NONE;
}

/* Return (place, row) of those ids that are here. */
static PyObject *find_ids(PyObject *object, PyObject *packed)
{
    Head *self = (Head *)object;
    char *ids;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(packed, &ids, &size) < 0)
        return NULL;
    if (size % ID_BYTES) {
        PyErr_SetString(PyExc_ValueError, "ids have 12 bytes each");
        return NULL;
    }
    PyObject *found = PyList_New(0);
    for (Py_ssize_t i = 0; found != NULL && i < size / ID_BYTES; i++) {
        uint32_t number = *find_slot(self, (uint8_t *)ids + i * ID_BYTES);
        if (number == 0)
            continue;
        const char *row = (char *)self->rows + (size_t)(number - 1) * ROW_BYTES;
        PyObject *pair = Py_BuildValue("(ny#)", i, row, (Py_ssize_t)ROW_BYTES);
        if (pair == NULL || PyList_Append(found, pair) < 0)
            Py_CLEAR(found);
        Py_XDECREF(pair);
    }
    return found;
}

static int note_place(PyObject *places, Py_ssize_t place)
{
    PyObject *number = PyLong_FromSsize_t(place);
    int failed = number == NULL || PyList_Append(places, number) < 0;
    Py_XDECREF(number);
    return failed ? -1 : 0;
}

/* Return the places of rows whose id is here, or came before among them. */
static PyObject *known_rows(PyObject *object, PyObject *packed)
{
    Head *self = (Head *)object;
    Py_ssize_t count;
    const uint8_t *rows = rows_in(packed, &count);
    uint32_t mask = LEAST_ROOM - 1, *seen = NULL;
    while (rows != NULL && mask < 2 * (size_t)count)
        mask = 2 * mask + 1;
    PyObject *places = rows ? PyList_New(0) : NULL;
    if (places != NULL && (seen = PyMem_Calloc((size_t)mask + 1, sizeof *seen)) == NULL) {
        Py_CLEAR(places);
        PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; places != NULL && i < count; i++) {
        const uint8_t *id = rows + i * ROW_BYTES;
        uint32_t slot = slot_of(id, mask);
        while (seen[slot] != 0 && memcmp(rows + (size_t)(seen[slot] - 1) * ROW_BYTES, id, ID_BYTES))
            slot = (slot + 1) & mask;
        int is_known = seen[slot] != 0 || *find_slot(self, id) != 0;
        seen[slot] = (uint32_t)(i + 1);
        if (is_known && note_place(places, i) < 0)
            Py_CLEAR(places);
    }
    PyMem_Free(seen);
    return places;
}

static PyObject *first_rows(PyObject *object, PyObject *asked)
{
    Head *self = (Head *)object;
    Py_ssize_t count = PyLong_AsSsize_t(asked);
    if (count == -1 && PyErr_Occurred())
        return NULL;
    if (count < 0 || count > self->size)
        count = count < 0 ? 0 : self->size;
    return PyBytes_FromStringAndSize((char *)self->rows, count * ROW_BYTES);
}

static Py_ssize_t count_rows(PyObject *self)
{
    return ((Head *)self)->size;
}

static PyMethodDef head_methods[] = {
    {"append", append_rows, METH_O, "See twin.Head.append."},
    {"find", find_ids, METH_O, "See twin.Head.find."},
    {"first", first_rows, METH_O, "See twin.Head.first."},
    {"known", known_rows, METH_O, "See twin.Head.known."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot head_slots[] = {
    {Py_tp_new, new_head},       {Py_tp_dealloc, free_head},    {Py_sq_length, count_rows},
    {Py_mp_length, count_rows},  {Py_tp_methods, head_methods}, {0, NULL},
};

static PyType_Spec head_spec = {
    "app.kernel.Head", sizeof(Head), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, head_slots,
};
