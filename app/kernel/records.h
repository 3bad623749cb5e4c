/* Records of a batch, each where it lies in the bytes of the batch. */

typedef struct {
    const char *key, *value;
    int32_t key_size, value_size; /* -1: there is none */
    int64_t offset, timestamp_ms;
    const uint8_t *headers, *headers_end;
    int32_t header_count;
} Record;

typedef struct {
    const char *name, *text;
    int32_t name_size, text_size; /* -1: it has no text */
} Header;

typedef struct {
    PyObject_HEAD
    PyObject *data, *kind; /* The bytes, and the class of a record for whoever asks for one. */
    Record *records;
    Py_ssize_t size;
    int timestamp_type;
} Records;

static PyTypeObject *records_type;

/* Read a number of at most 64 bits, zigzag; return where it ends, or NULL. */
static const uint8_t *varint(const uint8_t *p, const uint8_t *end, int64_t *number)
{
    uint64_t read = 0;
    for (int bits = 0; p < end && bits < 64; bits += 7) {
        uint8_t byte = *p++;
        read |= (uint64_t)(byte & 0x7F) << bits;
        if (byte < 0x80) {
            *number = (int64_t)(read >> 1) ^ -(int64_t)(read & 1);
            return p;
        }
    }
    return NULL;
}

/* Read a length and skip so many bytes; -1 stands for none. */
static const uint8_t *stretch(const uint8_t *p, const uint8_t *end, const char **text, int32_t *size)
{
    int64_t length;
    p = varint(p, end, &length);
    if (p == NULL || length < -1 || length > end - p)
        return NULL;
    *text = (const char *)p;
    *size = (int32_t)length;
    return length > 0 ? p + length : p;
}

/* The checksum of a batch, by the processor's own instruction where it has one. */

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("sse4.2"))) static uint32_t crc32c(const uint8_t *p, size_t size)
{
    uint64_t sum = 0xFFFFFFFF, word;
    for (; size >= sizeof word; size -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    while (size-- > 0)
        sum = __builtin_ia32_crc32qi((uint32_t)sum, *p++);
    return ~(uint32_t)sum;
}
#define HAS_CRC32C __builtin_cpu_supports("sse4.2")
#else
#define crc32c(p, size) 0
#define HAS_CRC32C 0
#endif

static PyObject *checksum(PyObject *module, PyObject *args)
{
    PyObject *data;
    Py_ssize_t at, end;
    if (!PyArg_ParseTuple(args, "O!nn", &PyBytes_Type, &data, &at, &end))
        return NULL;
    if (!HAS_CRC32C || at < 0 || end < at || end > PyBytes_Size(data))
        return Py_NewRef(Py_None);
    const uint8_t *begin = (const uint8_t *)PyBytes_AsString(data);
    return PyLong_FromUnsignedLong(crc32c(begin + at, (size_t)(end - at)));
}

#define MOST_HEADERS 1000

static int is_utf8(const char *text, Py_ssize_t size)
{
    unsigned char high = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        high |= (unsigned char)text[i];
    PyObject *decoded = high < 128 ? NULL : PyUnicode_DecodeUTF8(text, size, NULL);
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        PyErr_Clear();
    Py_XDECREF(decoded);
    return high < 128 || decoded != NULL;
}

/* Read a header; return where it ends, or NULL. */
static const uint8_t *read_header(const uint8_t *p, const uint8_t *end, Header *h)
{
    p = stretch(p, end, &h->name, &h->name_size);
    return p && h->name_size >= 0 ? stretch(p, end, &h->text, &h->text_size) : NULL;
}

/* Pass over the headers of a record, which are read when they are asked for; return where they end,
 * or NULL.
 */
static const uint8_t *headers_of(const uint8_t *p, const uint8_t *end, Record *r)
{
    int64_t count;
    Header h;
    p = varint(p, end, &count);
    if (p == NULL || count < 0 || count > MOST_HEADERS)
        return NULL;
    r->headers = p;
    r->header_count = (int32_t)count;
    for (; p != NULL && count > 0; count--) {
        p = read_header(p, end, &h);
        if (p != NULL && !is_utf8(h.name, h.name_size))
            p = NULL;
    }
    return r->headers_end = p;
}

/* A place among the headers of a record. */
typedef struct {
    const uint8_t *at, *end;
    int32_t left;
} Headers;

static Headers begin_headers(const Record *r)
{
    return (Headers){r->headers, r->headers_end, r->header_count};
}

static int next_header(Headers *headers, Header *h)
{
    if (headers->left == 0)
        return 0;
    headers->left--;
    headers->at = read_header(headers->at, headers->end, h);
    return headers->at != NULL;
}

/* Return whether a header has a name. */
static int is_named(const Header *h, const char *name)
{
    return (size_t)h->name_size == strlen(name) && memcmp(h->name, name, strlen(name)) == 0;
}

static int begins_with(const Header *h, const char *start)
{
    return (size_t)h->name_size >= strlen(start) && memcmp(h->name, start, strlen(start)) == 0;
}

/* Read one record; return where it ends, or NULL. */
static const uint8_t *read_record(const uint8_t *p, const uint8_t *end, Record *r)
{
    int64_t length;
    p = varint(p, end, &length);
    /* Of the attributes none is in use. */
    if (p == NULL || length < 1 || length > end - p || *p != 0)
        return NULL;
    end = p + length;
    p++;
    p = varint(p, end, &r->timestamp_ms);
    p = p ? varint(p, end, &r->offset) : NULL;
    p = p ? stretch(p, end, &r->key, &r->key_size) : NULL;
    p = p ? stretch(p, end, &r->value, &r->value_size) : NULL;
    p = p ? headers_of(p, end, r) : NULL;
    return p == end ? p : NULL;
}

static void free_records(PyObject *object)
{
    Records *self = (Records *)object;
    PyMem_Free(self->records);
    Py_XDECREF(self->data);
    Py_XDECREF(self->kind);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_Free(object);
    Py_DECREF(type);
}

static Records *new_records(PyObject *data, PyObject *kind, Py_ssize_t room, int timestamp_type)
{
    Records *self = PyObject_New(Records, records_type);
    if (self == NULL)
        return NULL;
    self->data = Py_NewRef(data);
    self->kind = Py_NewRef(kind);
    self->size = 0;
    self->timestamp_type = timestamp_type;
    self->records = PyMem_Malloc((size_t)(room ? room : 1) * sizeof(Record));
    if (self->records == NULL) {
        Py_DECREF((PyObject *)self);
        PyErr_NoMemory();
        return NULL;
    }
    return self;
}

static PyObject *split(PyObject *module, PyObject *args)
{
    PyObject *data, *kind;
    Py_ssize_t at, end;
    long long base, next, from, first_ms, append_ms;
    int count;
    if (!PyArg_ParseTuple(args, "O!nniLLLLLO", &PyBytes_Type, &data, &at, &end, &count, &base, &next,
                          &from, &first_ms, &append_ms, &kind))
        return NULL;
    const uint8_t *begin = (const uint8_t *)PyBytes_AsString(data), *p = begin + at;
    if (at < 0 || end < at || end > PyBytes_Size(data) || count < 0 || count > end - at)
        return Py_NewRef(Py_None);
    Records *self = new_records(data, kind, count, append_ms >= 0);
    if (self == NULL)
        return NULL;
    int64_t expected = base;
    for (int i = 0; p != NULL && i < count; i++) {
        Record *r = &self->records[self->size];
        p = read_record(p, begin + end, r);
        if (p != NULL && (r->offset < 0 || r->offset >= next - base || base + r->offset < expected))
            p = NULL;
        r->offset += base;
        expected = r->offset + 1;
        r->timestamp_ms = append_ms >= 0 ? append_ms : first_ms + r->timestamp_ms;
        self->size += p != NULL && r->offset >= from;
    }
    if (p == begin + end)
        return (PyObject *)self;
    Py_DECREF((PyObject *)self);
    /* It may be damaged, or be read more leniently. */
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static Py_ssize_t count_records(PyObject *self)
{
    return ((Records *)self)->size;
}

static PyObject *bytes_or_none(const char *bytes, int32_t size)
{
    return size < 0 ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(bytes, size);
}

/* Return the headers of a record as a list of pairs; () if it has none. */
static PyObject *listed_headers(const Record *r)
{
    if (r->header_count == 0)
        return PyTuple_New(0);
    PyObject *list = PyList_New(0);
    Headers headers = begin_headers(r);
    Header h;
    while (list != NULL && next_header(&headers, &h)) {
        PyObject *name = PyUnicode_DecodeUTF8(h.name, h.name_size, NULL);
        PyObject *text = name ? bytes_or_none(h.text, h.text_size) : NULL;
        PyObject *pair = text ? PyTuple_Pack(2, name, text) : NULL;
        if (pair == NULL || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(name);
        Py_XDECREF(text);
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *record_at(PyObject *object, Py_ssize_t i)
{
    Records *self = (Records *)object;
    if (i < 0 || i >= self->size) {
        PyErr_SetString(PyExc_IndexError, "there is no such record");
        return NULL;
    }
    Record *r = &self->records[i];
    PyObject *key = bytes_or_none(r->key, r->key_size);
    PyObject *value = key ? bytes_or_none(r->value, r->value_size) : NULL;
    PyObject *headers = value ? listed_headers(r) : NULL;
    PyObject *record = NULL;
    if (headers != NULL)
        record = PyObject_CallFunction(self->kind, "LLiOOO", (long long)r->offset,
                                       (long long)r->timestamp_ms, self->timestamp_type, key, value,
                                       headers);
    Py_XDECREF(key);
    Py_XDECREF(value);
    Py_XDECREF(headers);
    return record;
}

/* Return the records of a slice, or one record. */
static PyObject *some_records(PyObject *object, PyObject *asked)
{
    Records *self = (Records *)object;
    Py_ssize_t start, stop, step;
    if (!PySlice_Check(asked)) {
        Py_ssize_t i = PyNumber_AsSsize_t(asked, PyExc_IndexError);
        if (i == -1 && PyErr_Occurred())
            return NULL;
        return record_at(object, i < 0 ? i + self->size : i);
    }
    if (PySlice_Unpack(asked, &start, &stop, &step) < 0)
        return NULL;
    Py_ssize_t count = PySlice_AdjustIndices(self->size, &start, &stop, step);
    Records *part = new_records(self->data, self->kind, count, self->timestamp_type);
    for (; part != NULL && part->size < count; part->size++, start += step)
        part->records[part->size] = self->records[start];
    return (PyObject *)part;
}

static PyType_Slot records_slots[] = {
    {Py_tp_dealloc, free_records},     {Py_sq_length, count_records},
    {Py_mp_length, count_records},     {Py_sq_item, record_at},
    {Py_mp_subscript, some_records},   {0, NULL},
};

static PyType_Spec records_spec = {
    "app.kernel.Records", sizeof(Records), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, records_slots,
};
