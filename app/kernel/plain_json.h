/* JSON that any reader takes alike: without escapes, not deep, its numbers short. The rest is handed
 * back. Nothing is made of it: members are found where they stand in the text.
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
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    if (p == digits || (*digits == '0' && p - digits > 1))
        return NULL;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        while (p < end && *p >= '0' && *p <= '9')
            p++;
        if (p == fraction)
            return NULL;
    }
    return p - begun > MOST_DIGITS ? NULL : p;
}

/* Return where a JSON value ends; NULL: it is none, or none that is plain. */
static const char *after_valid(const char *p, const char *end, int levels)
{
    static const char *const words[] = {"true", "false", "null"};
    if (p == end)
        return NULL;
    if (*p == '"') {
        p = memchr(p + 1, '"', (size_t)(end - p - 1));
        return p == NULL ? NULL : p + 1;
    }
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
            p = *p == '"' ? memchr(p + 1, '"', (size_t)(end - p - 1)) : NULL;
            p = p ? after_white(p + 1, end) : end;
            if (p == end || *p != ':')
                return NULL;
            p = after_white(p + 1, end);
        }
        p = after_valid(p, end, levels - 1);
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

/* Find members of a JSON object by their names; return 0 if it is not plain: if it has an escape, or
 * one of these names twice.
 */
static int find_members(const char *p, Py_ssize_t size, Literal *wanted, int count)
{
    const char *end = p + size;
    p = after_white(p, end);
    if (p == end || *p != '{' || memchr(p, '\\', (size_t)(end - p)) != NULL)
        return 0;
    p = after_white(p + 1, end);
    if (p < end && *p == '}')
        return after_white(p + 1, end) == end;
    while (p < end && *p == '"') {
        const char *name = p + 1;
        p = memchr(name, '"', (size_t)(end - name));
        if (p == NULL)
            return 0;
        Py_ssize_t name_size = p - name;
        p = after_white(p + 1, end);
        if (p == end || *p != ':')
            return 0;
        const char *value = after_white(p + 1, end);
        p = after_valid(value, end, MOST_LEVELS);
        if (p == NULL)
            return 0;
        for (int i = 0; i < count; i++)
            if (wanted[i].name_size == name_size &&
                memcmp(wanted[i].name, name, (size_t)name_size) == 0) {
                if (wanted[i].found != NULL)
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
