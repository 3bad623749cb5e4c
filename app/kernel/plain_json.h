/* JSON that any reader takes alike: not deep, its numbers short, without escapes in what is looked
 * for. The rest is handed back. Nothing is made of it: members are found where they stand in the text.
 */

#include <Python.h>
#include <string.h>

#define MOST_LEVELS 8
#define MOST_DIGITS 64

static int is_white(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *after_white(const char *p, const char *end)
{
    while (p < end && is_white(*p))
        p++;
    return p;
}

static const char *after_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

typedef struct {
    const char *name, *found;
    Py_ssize_t name_size, found_size;
} Literal;

/* Return where a number ends whose text any reader takes alike; NULL: it is another. */
static const char *after_number(const char *p, const char *end)
{
    const char *begun = p;
    if (p < end && *p == '-')
        p++;
    const char *digits = p;
    p = after_digits(p, end);
    if (p == digits || (*digits == '0' && p - digits > 1))
        return NULL;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = after_digits(p, end);
        if (p == fraction)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p += p + 1 < end && (p[1] == '-' || p[1] == '+') ? 2 : 1;
        const char *exponent = p;
        p = after_digits(p, end);
        if (p == exponent)
            return NULL;
    }
    return p - begun > MOST_DIGITS ? NULL : p;
}

/* Return the unit of UTF-16 that an escape such as \u00e9 stands for; -1: it is none such. */
static int unit_at(const char *p, const char *end)
{
    int unit = 0;
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        char lower = (char)(p[i] | 0x20);
        int digit = p[i] >= '0' && p[i] <= '9'       ? p[i] - '0'
                    : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
                                                   : -1;
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Return where an escape ends; NULL: it is none, or stands for half a character. */
static const char *after_escape(const char *p, const char *end)
{
    if (end - p >= 2 && p[1] != 'u')
        return memchr("\"\\/bfnrt", p[1], 8) ? p + 2 : NULL;
    int unit = unit_at(p, end);
    if (unit < 0xD800 || unit > 0xDFFF)
        return unit < 0 ? NULL : p + 6;
    int low = unit < 0xDC00 ? unit_at(p + 6, end) : -1;
    return low >= 0xDC00 && low <= 0xDFFF ? p + 12 : NULL;
}

/* Return whether some byte is no plain part of a string: a control character, or of an escape. */
static int has_odd(const char *p, const char *end)
{
    unsigned char odd = 0;
    for (; p < end; p++)
        odd |= (unsigned char)((unsigned char)*p < 32) | (unsigned char)(*p == '\\');
    return odd;
}

/* Return where a JSON string ends; NULL: it is none. `odd`: some bytes may be no plain part of it. */
static const char *after_string(const char *p, const char *end, int odd)
{
    if (!odd) {
        p = memchr(p + 1, '"', (size_t)(end - p - 1));
        return p ? p + 1 : NULL;
    }
    for (p++; p != NULL && p < end && (unsigned char)*p >= 32;) {
        if (*p == '"')
            return p + 1;
        p = *p == '\\' ? after_escape(p, end) : p + 1;
    }
    return NULL;
}

/* Return where a JSON value ends; NULL: it is none, or none that is plain. */
static const char *after_valid(const char *p, const char *end, int levels, int odd)
{
    static const char *const words[] = {"true", "false", "null"};
    if (p == end)
        return NULL;
    if (*p == '"')
        return after_string(p, end, odd);
    if (*p != '{' && *p != '[') {
        for (int i = 0; i < 3; i++) {
            size_t size = strlen(words[i]);
            if ((size_t)(end - p) >= size && memcmp(p, words[i], size) == 0)
                return p + size;
        }
        return after_number(p, end);
    }
    char close = *p == '{' ? '}' : ']';
    if (levels == 0)
        return NULL;
    p = after_white(p + 1, end);
    if (p < end && *p == close)
        return p + 1;
    while (p < end) {
        if (close == '}') {
            p = *p == '"' ? after_string(p, end, odd) : NULL;
            p = p ? after_white(p, end) : end;
            if (p == end || *p != ':')
                return NULL;
            p = after_white(p + 1, end);
        }
        p = after_valid(p, end, levels - 1, odd);
        p = p ? after_white(p, end) : end;
        if (p == end)
            return NULL;
        if (*p == close)
            return p + 1;
        if (*p != ',')
            return NULL;
        p = after_white(p + 1, end);
    }
    return NULL;
}

/* Find members of a JSON object by their names; return 0 if it is not plain: if a name has an escape,
 * if what is found is a string with one, or if one of these names comes twice.
 */
static int find_members(const char *p, Py_ssize_t size, Literal *wanted, int count)
{
    const char *end = p + size;
    p = after_white(p, end);
    if (p == end || *p != '{')
        return 0;
    int odd = has_odd(p, end);
    p = after_white(p + 1, end);
    if (p < end && *p == '}')
        return after_white(p + 1, end) == end;
    while (p < end && *p == '"') {
        const char *name = p + 1;
        p = after_string(p, end, odd);
        if (p == NULL)
            return 0;
        Py_ssize_t name_size = p - 1 - name;
        p = after_white(p, end);
        if (p == end || *p != ':' || (odd && memchr(name, '\\', (size_t)name_size) != NULL))
            return 0;
        const char *value = after_white(p + 1, end);
        p = after_valid(value, end, MOST_LEVELS, odd);
        if (p == NULL)
            return 0;
        for (int i = 0; i < count; i++)
            if (wanted[i].name_size == name_size &&
                memcmp(wanted[i].name, name, (size_t)name_size) == 0) {
                if (wanted[i].found != NULL ||
                    (odd && *value == '"' && memchr(value, '\\', (size_t)(p - value)) != NULL))
                    return 0;
                wanted[i].found = value;
                wanted[i].found_size = p - value;
            }
        p = after_white(p, end);
        if (p < end && *p == '}')
            return after_white(p + 1, end) == end;
        if (p == end || *p != ',')
            return 0;
        p = after_white(p + 1, end);
    }
    return 0;
}
