/* Sums of numbers of few digits, as integers: most numbers never become an object. */

/* A product of time and number has at most 32 digits then, and a million of them go together. */
#define FEW_DIGITS 12
#define FEW_DECIMALS 6
#define FEW_TIME_MS 100000000000000
#define MOST_SUMMED 1000000
/* So many make up for the objects at the end. */
#define LEAST_SUMMED 3

#ifdef __SIZEOF_INT128__
__extension__ typedef __int128 Wide;
#define HAS_WIDE 1
#else
typedef int64_t Wide;
#define HAS_WIDE 0
#endif

/* Sums in units of the last decimal, which is the longest fraction's. */
typedef struct {
    Wide numbers, products;
    int decimals;
    Py_ssize_t count;
} Few;

/* Read a plain JSON number; return 0 if it is another value, has more digits or is a negative zero,
 * which an integer cannot be.
 */
static int read_few(const Literal *literal, int64_t *number, int *decimals)
{
    const char *p = literal->found, *end = p + literal->found_size, *point = NULL;
    int negative = *p == '-', digits = 0;
    *number = 0;
    for (p += negative; p < end; p++) {
        if (*p == '.' && digits > 0 && point == NULL)
            point = p;
        else if (*p < '0' || *p > '9' || ++digits > FEW_DIGITS)
            return 0;
        else
            *number = *number * 10 + (*p - '0');
    }
    *decimals = point ? (int)(end - point) - 1 : 0;
    if (digits == 0 || *decimals > FEW_DECIMALS || (negative && *number == 0))
        return 0;
    if (negative)
        *number = -*number;
    return 1;
}

/* Add the digest text of such a number, as `app.numbers.canonical` gives it. */
static void add_canonical(Blake *digest, const Literal *literal)
{
    const char *found = literal->found, *end = found + literal->found_size;
    const char *point = memchr(found, '.', (size_t)literal->found_size);
    while (point != NULL && end > point + 2 && end[-1] == '0')
        end--;
    blake_add(digest, found, (size_t)(end - found));
    if (point == NULL)
        blake_add(digest, ".0", 2);
}

static void add_few(Few *few, int64_t number, int decimals, int64_t timestamp_ms)
{
    for (; decimals < few->decimals; decimals++)
        number *= 10;
    for (; few->decimals < decimals; few->decimals++) {
        few->numbers *= 10;
        few->products *= 10;
    }
    few->numbers += number;
    few->products += (Wide)number * timestamp_ms;
    few->count++;
}

/* Return a sum as a decimal whose exponent is that of the longest fraction, as adding gives it. */
static PyObject *decimal_of(const Few *few, Wide number, PyObject *kind)
{
    char text[48], *p = text + sizeof text;
    int negative = number < 0;
    *--p = (char)('0' + few->decimals);
    *--p = '-';
    *--p = 'E';
    do {
        int digit = (int)(number % 10);
        *--p = (char)('0' + (digit < 0 ? -digit : digit));
        number /= 10;
    } while (number != 0);
    if (negative)
        *--p = '-';
    PyObject *spelled = PyUnicode_FromStringAndSize(p, text + sizeof text - p);
    PyObject *made = spelled ? PyObject_CallFunctionObjArgs(kind, spelled, NULL) : NULL;
    Py_XDECREF(spelled);
    return made;
}
