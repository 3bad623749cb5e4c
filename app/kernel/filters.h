/* Segments of the event index: whether an id may be in one, and its row in a block of one. */

static inline uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Three of 64 bits for a number of 12 bits. */
static inline uint64_t three_bits(uint32_t number)
{
    uint64_t scattered = ((uint64_t)number + 1) * 0x9E3779B97F4A7C15u;
    return (uint64_t)1 << (scattered >> 58) | (uint64_t)1 << (scattered >> 52 & 63) |
           (uint64_t)1 << (scattered >> 46 & 63);
}

/* Tell whether a word has the bits of a number; most words do not. */
static inline int has_bits(uint64_t word, uint32_t low)
{
    uint64_t bits = three_bits(low & 0xfff);
    return (word & bits) == bits;
}

/* Return the word of a filter that an id has its bits in. */
static inline const uint8_t *word_of(const uint8_t *id, const uint8_t *words, uint64_t count)
{
    return words + (be32(id) * count >> 32) * 8;
}

static PyObject *maybe_among(PyObject *module, PyObject *args)
{
    PyObject *packed, *words;
    Py_ssize_t stride;
    Py_buffer ids, filter;
    if (!PyArg_ParseTuple(args, "OnO", &packed, &stride, &words) ||
        PyObject_GetBuffer(packed, &ids, PyBUF_SIMPLE) < 0)
        return NULL;
    if (PyObject_GetBuffer(words, &filter, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&ids);
        return NULL;
    }
    uint64_t word_count = (uint64_t)filter.len / 8;
    PyObject *places = NULL;
    if (stride < ID_BYTES || ids.len % stride || word_count == 0)
        PyErr_SetString(PyExc_ValueError, "ids are 12 bytes at the beginning of rows");
    else
        places = PyList_New(0);
    Py_ssize_t count = places == NULL ? 0 : ids.len / stride;
    for (Py_ssize_t i = 0; places != NULL && i < count; i++) {
        const uint8_t *id = (const uint8_t *)ids.buf + i * stride;
        uint32_t low = be32(id + 8);
        uint64_t word;
        if (i + AHEAD < count)
            __builtin_prefetch(word_of(id + AHEAD * stride, filter.buf, word_count));
        memcpy(&word, word_of(id, filter.buf, word_count), sizeof word);
        if (has_bits(word, low) && has_bits(word, low >> 12) && note_place(places, i) < 0)
            Py_CLEAR(places);
    }
    PyBuffer_Release(&filter);
    PyBuffer_Release(&ids);
    return places;
}

/* Return the row of an id; the rows are sorted by id. */
static PyObject *row_among(PyObject *module, PyObject *args)
{
    const char *rows, *id;
    Py_ssize_t size, id_size;
    if (!PyArg_ParseTuple(args, "y#y#", &rows, &size, &id, &id_size))
        return NULL;
    if (size % ROW_BYTES || id_size != ID_BYTES) {
        PyErr_SetString(PyExc_ValueError, "rows have 40 bytes each, and an id 12");
        return NULL;
    }
    Py_ssize_t first = 0, end = size / ROW_BYTES;
    while (first < end) {
        Py_ssize_t middle = (first + end) / 2;
        int order = memcmp(rows + middle * ROW_BYTES, id, ID_BYTES);
        if (order == 0)
            return PyBytes_FromStringAndSize(rows + middle * ROW_BYTES, ROW_BYTES);
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    Py_RETURN_NONE;
}
