/* Values and digests of the events of a run that falls into one cell. */

#define MOST_NAMES 8

static inline uint64_t load_be(const uint8_t *p)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | p[i];
    return number;
}

/* How a state keeps numbers: as `apply` does, as a sum, the greatest one, or as sum, moment and
 * newest time.
 */
enum { APPLIED, SUMMED, GREATEST, MOMENTS };

typedef struct {
    long long start_ms, end_ms, after_ms, until_ms;
    const char *subscription, *code;
    Py_ssize_t subscription_size, code_size;
    /* The properties that are read. */
    Literal names[MOST_NAMES];
    int count, is_computed; /* What is found is computed of all of them. */
    Py_ssize_t most_text;
    PyObject *numbers, *number_of, *zero, *add, *fma;
    int ordered, kept;
    /* What was read. NULL where there is nothing. */
    PyObject *amount; /* The sum of all amounts. */
    Py_ssize_t carried; /* How many events have one. */
    PyObject *number; /* The sum of all numbers, or the greatest one. */
    PyObject *found;  /* A list of what single events hold. */
    /* What a state that keeps moments will have, and the newest time of what was read. */
    PyObject *change, *moment;
    int64_t newest_ms;
    /* Sums of numbers that are in none of these yet, if they are taken so. */
    Few few;
    int takes_few;
    uint64_t high, low;
    /* Digests to be ended. */
    Blake digests[TOGETHER];
    int waiting;
} Reading;

static size_t write_number(char *to, int64_t number)
{
    char digits[20];
    size_t size = 0, count = 0;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        to[size++] = '-';
    while (count > 0)
        to[size++] = digits[--count];
    return size;
}

/* Return the literals of properties, with commas between them. */
static PyObject *literals_in(const Literal *wanted, int count)
{
    if (count == 1)
        return PyUnicode_DecodeUTF8(wanted->found, wanted->found_size, NULL);
    Py_ssize_t size = count - 1;
    for (int i = 0; i < count; i++)
        size += wanted[i].found_size;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size), *text = NULL;
    char *p = bytes ? PyBytes_AsString(bytes) : NULL;
    for (int i = 0; p != NULL && i < count; i++) {
        if (i > 0)
            *p++ = ',';
        p = (char *)memcpy(p, wanted[i].found, (size_t)wanted[i].found_size) +
            wanted[i].found_size;
    }
    if (p != NULL)
        text = PyUnicode_DecodeUTF8(PyBytes_AsString(bytes), size, NULL);
    Py_XDECREF(bytes);
    return text;
}

/* Add the digest text of a number, and note the number; return 0 if it is none. */
static int read_number(Reading *r, Blake *digest, const Literal *wanted, PyObject **noted)
{
    PyObject *literal = literals_in(wanted, r->count);
    if (literal == NULL)
        return -1;
    PyObject *value = PyDict_GetItemWithError(r->numbers, literal);
    if (value != NULL)
        Py_INCREF(value);
    else if (!PyErr_Occurred())
        value = PyObject_CallFunctionObjArgs(r->number_of, literal, NULL);
    Py_DECREF(literal);
    if (value == NULL)
        return -1;
    int taken = 0;
    if (PyTuple_Check(value) && PyTuple_Size(value) == 4) {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(value, 3), &size);
        taken = text == NULL ? -1 : 1;
        if (taken > 0) {
            blake_add(digest, text, (size_t)size);
            *noted = PyTuple_GetItem(value, 0);
            Py_INCREF(*noted);
        }
    }
    Py_DECREF(value);
    return taken;
}

/* Take a number of few digits; return 0 if it is none. */
static int take_few(Reading *r, Blake *digest, const Literal *field, int64_t timestamp_ms)
{
    int64_t number;
    int decimals;
    if (!r->takes_few || r->is_computed || r->few.count >= MOST_SUMMED || timestamp_ms > FEW_TIME_MS ||
        timestamp_ms < -FEW_TIME_MS || !read_few(field, &number, &decimals))
        return 0;
    add_canonical(digest, field);
    add_few(&r->few, number, decimals, timestamp_ms);
    if (timestamp_ms > r->newest_ms)
        r->newest_ms = timestamp_ms;
    return 1;
}

static int is_text(const Literal *found, const char *text)
{
    size_t size = strlen(text);
    return found->found_size == (Py_ssize_t)size + 2 && memcmp(found->found + 1, text, size) == 0;
}

/* Add the digest text of an operation, and note its text; return 0 if it is not plain. */
static int read_operation(Reading *r, Blake *digest, const Literal *wanted, PyObject **noted,
                          int *adds)
{
    const Literal *field = &wanted[0], *kind = &wanted[1];
    *adds = 1;
    if (kind->found != NULL) {
        if (kind->found[0] != '"')
            return 0;
        *adds = !is_text(kind, "remove");
        if (*adds && !is_text(kind, "add") && !is_text(kind, ""))
            return 0;
    }
    /* A number or a word counts as it is spelled. */
    int quoted = field->found[0] == '"';
    const char *text = field->found + quoted;
    Py_ssize_t size = field->found_size - 2 * quoted;
    if (memchr("{[n", field->found[0], 3) != NULL || size > r->most_text)
        return 0;
    blake_add(digest, *adds ? "add:" : "remove:", *adds ? 4 : 7);
    blake_add(digest, text, (size_t)size);
    *noted = PyUnicode_DecodeUTF8(text, size, NULL);
    return *noted == NULL ? -1 : 1;
}

/* Put another number in place of one: their sum, or the greater. The first has none before it. */
static int join(PyObject **number, PyObject *other, int kept, PyObject *add)
{
    PyObject *before = *number;
    if (before == NULL) {
        *number = Py_NewRef(other);
    } else if (kept == SUMMED) {
        PyObject *sum = PyObject_CallFunctionObjArgs(add, before, other, NULL);
        if (sum == NULL)
            return -1;
        *number = sum;
        Py_DECREF(before);
    } else {
        int greater = PyObject_RichCompareBool(other, before, Py_GT);
        if (greater > 0) {
            *number = Py_NewRef(other);
            Py_DECREF(before);
        }
        return greater < 0 ? -1 : 0;
    }
    return 0;
}

/* Add a number, and its product with the time, to what a state will have. */
static int add_moment(Reading *r, PyObject *number, int64_t timestamp_ms)
{
    if (join(&r->change, number, SUMMED, r->add) < 0)
        return -1;
    PyObject *time = PyLong_FromLongLong(timestamp_ms);
    PyObject *moment =
        time ? PyObject_CallFunctionObjArgs(r->fma, number, time, r->moment, NULL) : NULL;
    Py_XDECREF(time);
    if (moment == NULL)
        return -1;
    Py_DECREF(r->moment);
    r->moment = moment;
    if (timestamp_ms > r->newest_ms)
        r->newest_ms = timestamp_ms;
    return 0;
}

/* Add a sum of numbers of few digits to one of others. */
static int join_sum(const Reading *r, PyObject **number, Wide sum)
{
    PyObject *made = decimal_of(&r->few, sum, (PyObject *)Py_TYPE(r->zero));
    int failed = made == NULL ? -1 : join(number, made, SUMMED, r->add);
    Py_XDECREF(made);
    return failed;
}

static int join_few(Reading *r)
{
    if (r->few.count == 0)
        return 0;
    if (r->kept == SUMMED)
        return join_sum(r, &r->number, r->few.numbers);
    return join_sum(r, &r->change, r->few.numbers) < 0 ||
                   join_sum(r, &r->moment, r->few.products) < 0
               ? -1
               : 0;
}

static int read_amount(Reading *r, const View *v)
{
    PyObject *amount = amount_in(v);
    int failed = amount == NULL && PyErr_Occurred();
    r->carried += amount != NULL;
    if (amount != NULL && (amount != r->zero || r->amount == NULL))
        failed = join(&r->amount, amount, SUMMED, r->add) < 0;
    Py_XDECREF(amount);
    return failed ? -1 : 0;
}

/* Return (append time, raw partition, raw offset, array index), or nothing where no order counts. */
static PyObject *position_of(const Reading *r, const View *v)
{
    int64_t place[4];
    if (!r->ordered)
        return PyTuple_New(0);
    if (place_in(v, place) < 0)
        return NULL;
    return Py_BuildValue("(LLLL)", v->append_ms, place[0], place[1], place[2]);
}

/* Note what the properties of an event say, and add its digest text; return 0 if it is not plain. */
static int read_properties(Reading *r, PyObject *run, const View *v, Blake *digest)
{
    Owned owned = {NULL, NULL, 0};
    PyObject *noted = NULL, *found = NULL;
    int adds = 1, numeric = r->numbers != Py_None, taken = properties_in(v, &owned);
    Literal wanted[MOST_NAMES + 1];
    memcpy(wanted, r->names, sizeof r->names);
    wanted[r->count] = (Literal){"operation_type", NULL, 14, 0};
    if (taken == 0 && owned.size > 0)
        taken = find_members(owned.text, owned.size, wanted, numeric ? r->count : r->count + 1);
    for (int i = 0; i < r->count; i++)
        if (taken > 0 && wanted[i].found == NULL)
            taken = 0;
    if (taken > 0 && numeric && take_few(r, digest, wanted, v->timestamp_ms)) {
        Py_XDECREF(owned.owner);
        return 1;
    }
    if (taken > 0)
        taken = numeric ? read_number(r, digest, wanted, &noted)
                        : read_operation(r, digest, wanted, &noted, &adds);
    Py_XDECREF(owned.owner);
    if (taken > 0 && r->kept == MOMENTS) {
        taken = add_moment(r, noted, v->timestamp_ms) < 0 ? -1 : 1;
    } else if (taken > 0 && r->kept != APPLIED) {
        taken = join(&r->number, noted, r->kept, r->add) < 0 ? -1 : 1;
    } else if (taken > 0) {
        PyObject *position = position_of(r, v);
        if (position != NULL)
            found = numeric ? Py_BuildValue("(OLO)", noted, v->timestamp_ms, position)
                            : Py_BuildValue("(OOLO)", noted, adds ? Py_True : Py_False,
                                            v->timestamp_ms, position);
        Py_XDECREF(position);
        if (found == NULL || PyList_Append(r->found, found) < 0)
            taken = -1;
        Py_XDECREF(found);
    }
    Py_XDECREF(noted);
    return taken;
}

/* Add the digests that wait to their sum. */
static void end_digests(Reading *r)
{
    blake_end(r->digests, r->waiting);
    for (int i = 0; i < r->waiting; i++) {
        uint8_t bytes[DIGEST_BYTES];
        blake_write(&r->digests[i], bytes, DIGEST_BYTES);
        uint64_t low = load_be(bytes + 8);
        r->low += low;
        r->high += load_be(bytes) + (r->low < low);
    }
    r->waiting = 0;
}

/* Read one event; return 0 if it is not plain. */
static int read_event(Reading *r, PyObject *run, const View *v)
{
    if (v->timestamp_ms < r->start_ms || v->timestamp_ms >= r->end_ms ||
        v->append_ms <= r->after_ms || v->append_ms > r->until_ms)
        return 0;
    Blake *digest = &r->digests[r->waiting];
    blake_begin(digest, DIGEST_BYTES);
    blake_add(digest, r->subscription, (size_t)r->subscription_size);
    blake_add(digest, "", 1);
    if (add_transaction(digest, v) < 0)
        return -1;
    char time_text[24] = "";
    size_t time_size = 1 + write_number(time_text + 1, v->timestamp_ms);
    blake_add(digest, time_text, time_size);
    blake_add(digest, "", 1);
    blake_add(digest, r->code, (size_t)r->code_size);
    blake_add(digest, "", 1);
    int taken = r->count == 0 ? 1 : read_properties(r, run, v, digest);
    if (taken <= 0)
        return taken;
    if (read_amount(r, v) < 0)
        return -1;
    if (++r->waiting == TOGETHER)
        end_digests(r);
    return 1;
}

static PyObject *shift, *mask;

static PyObject *digest_sum(const Reading *r)
{
    PyObject *high = PyLong_FromUnsignedLongLong(r->high);
    PyObject *low = PyLong_FromUnsignedLongLong(r->low);
    PyObject *shifted = high && low ? PyNumber_Lshift(high, shift) : NULL;
    PyObject *sum = shifted ? PyNumber_Or(shifted, low) : NULL;
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(shifted);
    return sum;
}

static void end_reading(Reading *r)
{
    Py_CLEAR(r->amount);
    Py_CLEAR(r->number);
    Py_CLEAR(r->found);
    Py_CLEAR(r->change);
    Py_CLEAR(r->moment);
}

/* Read the events of a run; return 0 if one is not plain. */
static int read_events(Reading *r, PyObject *run)
{
    Py_ssize_t size = PySequence_Size(run);
    r->high = r->low = 0;
    r->waiting = 0;
    r->carried = 0;
    int taken = size < 0 ? -1 : 1;
    r->few = (Few){0};
    r->takes_few = HAS_WIDE && size >= LEAST_SUMMED && (r->kept == SUMMED || r->kept == MOMENTS);
    if (taken > 0 && r->count > 0 && r->kept == APPLIED && (r->found = PyList_New(0)) == NULL)
        taken = -1;
    for (Py_ssize_t i = 0; taken > 0 && i < size; i++) {
        View v;
        taken = view_of(run, i, &v) < 0 ? -1 : read_event(r, run, &v);
        end_view(&v);
    }
    end_digests(r);
    return taken > 0 && join_few(r) < 0 ? -1 : taken;
}
