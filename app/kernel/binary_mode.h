/* CloudEvents in binary mode: what names them stands in headers. Behind their value it is kept as
 * their envelope, so that all of an event lies in one place.
 */

#define MOST_TOLD 1024
#define MOST_TIME 64

/* What is kept of the headers, in the order of an envelope. */
enum { OF_ID, OF_ORGANIZATION, OF_SUBJECT, OF_TIME, OF_TYPE, CARRIED };

static const struct {
    const char *header, *label;
} carried[CARRIED] = {
    {"ce_id", "id="}, {"ce_organizationid", "organizationid="}, {"ce_subject", "subject="},
    {"ce_time", "time="}, {"ce_type", "type="},
};

/* Find what headers carry; return 0 if some are not plain. */
static int find_carried(const Record *r, const char *texts[CARRIED], Py_ssize_t sizes[CARRIED])
{
    Py_ssize_t told = -1;
    Headers headers = begin_headers(r);
    Header h;
    while (next_header(&headers, &h)) {
        if (begins_with(&h, "meter-") || is_named(&h, "ce_data"))
            return 0;
        if (!begins_with(&h, "ce_"))
            continue;
        told += h.name_size + h.text_size + 1;
        if (h.text_size < 0 || told > MOST_TOLD || !is_utf8(h.text, h.text_size))
            return 0;
        for (int part = 0; part < CARRIED; part++) {
            if (!is_named(&h, carried[part].header))
                continue;
            if (h.text_size > MOST_NAME || memchr(h.text, 0, (size_t)h.text_size) != NULL)
                return 0;
            /* The last one holds. */
            texts[part] = h.text;
            sizes[part] = h.text_size;
        }
    }
    return sizes[OF_ID] > 0 && sizes[OF_SUBJECT] > 0 && sizes[OF_TYPE] > 0;
}

/* Keep a value and, behind a NUL, the envelope of what headers carry. */
static int keep_envelope(const char *value, Py_ssize_t size, const char *const texts[CARRIED],
                         const Py_ssize_t sizes[CARRIED], Entry *entry)
{
    Py_ssize_t room = size;
    for (int part = 0; part < CARRIED; part++)
        room += texts[part] ? 1 + (Py_ssize_t)strlen(carried[part].label) + sizes[part] : 0;
    entry->owner = PyBytes_FromStringAndSize(NULL, room);
    if (entry->owner == NULL)
        return -1;
    char *p = PyBytes_AsString(entry->owner);
    entry->body = memcpy(p, value, (size_t)size);
    entry->body_size = (int32_t)size;
    entry->envelope_size = (int32_t)(room - size - 1);
    p += size;
    for (int part = 0; part < CARRIED; part++) {
        if (texts[part] == NULL)
            continue;
        size_t label = strlen(carried[part].label);
        *p++ = 0;
        memcpy(p, carried[part].label, label);
        p += label;
        if (part == OF_ID) {
            entry->transaction_at = (int32_t)(p - entry->body);
            entry->transaction_size = (int32_t)sizes[part];
        }
        memcpy(p, texts[part], (size_t)sizes[part]);
        p += sizes[part];
    }
    return 0;
}

/* Find a CloudEvent of binary mode, as `find_plain` finds others. The owner that it has then is the
 * caller's to let go of.
 */
static int find_binary(const Record *r, PyObject *default_organization, PyObject *const *with,
                       Entry *entry, PyObject **key)
{
    const char *texts[CARRIED] = {NULL}, *end = r->value + r->value_size;
    Py_ssize_t sizes[CARRIED] = {0};
    int taken = find_carried(r, texts, sizes);
    if (taken <= 0)
        return taken;
    const char *begin = after_white(r->value, end);
    while (end > begin && is_white(end[-1]))
        end--;
    entry->has_organization = sizes[OF_ORGANIZATION] > 0;
    if (r->value_size > MOST_BYTES || begin == end || *begin != '{' ||
        !is_utf8(r->value, r->value_size) ||
        after_valid(begin, end, MOST_LEVELS, has_odd(begin, end)) != end ||
        (!entry->has_organization && default_organization == Py_None))
        return 0;
    entry->timestamp_ms = NO_TIME;
    if (texts[OF_TIME] != NULL) {
        char quoted[MOST_TIME + 2] = "\"";
        if (sizes[OF_TIME] > MOST_TIME)
            return 0;
        memcpy(quoted + 1, texts[OF_TIME], (size_t)sizes[OF_TIME]);
        quoted[sizes[OF_TIME] + 1] = '"';
        const Literal time = {NULL, quoted, 0, sizes[OF_TIME] + 2};
        taken = read_time(&time, with[TEXT_TIMESTAMP], &entry->timestamp_ms);
        if (taken <= 0)
            return taken;
    }
    /* An empty organization is none. */
    const char *named[3] = {entry->has_organization ? texts[OF_ORGANIZATION] : NULL,
                            texts[OF_SUBJECT], texts[OF_TYPE]};
    const Py_ssize_t name_sizes[3] = {sizes[OF_ORGANIZATION], sizes[OF_SUBJECT], sizes[OF_TYPE]};
    *key = key_of(named, name_sizes, default_organization);
    if (*key == NULL || keep_envelope(r->value, r->value_size, texts, sizes, entry) < 0) {
        Py_CLEAR(*key);
        return -1;
    }
    entry->values_at = (int32_t)(begin - r->value);
    entry->values_size = (int32_t)(end - begin);
    entry->amount = NULL;
    return 1;
}
