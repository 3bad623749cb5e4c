/* The kernel: what each event costs most, on its bytes. It decides nothing: no time, no definition.
 *
 * `twin.py` has the same functions in Python, and says what each one returns. Whatever is not plain
 * is handed back. A law holds both to the same results.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include "blake2b.h"
#include "objects.h"
#include "plain_json.h"
#include "records.h"
#include "events.h"
#include "binary_mode.h"
#include "arriving.h"
#include "forwards.h"
#include "rows.h"
#include "few_digits.h"
#include "reading.h"
#include "straight.h"
#include "parted.h"
#include "packing.h"
#include "members.h"
#include "head.h"
#include "filters.h"

#ifndef SOURCE
#define SOURCE "unknown"
#endif

static PyMethodDef functions[] = {
    {"apart", apart, METH_VARARGS, "See twin.apart."},
    {"arrive", (PyCFunction)(void (*)(void))arrive, METH_FASTCALL, "See twin.arrive."},
    {"arrive_forwards", arrive_forwards, METH_VARARGS, "See twin.arrive_forwards."},
    {"arrive_many", arrive_many, METH_VARARGS, "See twin.arrive_many."},
    {"by_literals", by_literals, METH_VARARGS, "See twin.by_literals."},
    {"checksum", checksum, METH_VARARGS, "See twin.checksum."},
    {"event_ids", event_ids, METH_VARARGS, "See twin.event_ids."},
    {"fold_led", fold_led, METH_VARARGS, "See twin.fold_led."},
    {"index_rows", index_rows, METH_VARARGS, "See twin.index_rows."},
    {"lead", lead, METH_VARARGS, "See twin.lead."},
    {"learn", learn, METH_O, "See twin.learn."},
    {"learn_state", learn_state, METH_VARARGS, "See twin.learn_state."},
    {"maybe_among", maybe_among, METH_VARARGS, "See twin_filters.maybe_among."},
    {"note_leaving", note_leaving, METH_VARARGS, "See twin.note_leaving."},
    {"pack_cells", pack_cells, METH_VARARGS, "See twin.pack_cells."},
    {"reach_of", reach_of, METH_O, "See twin.reach_of."},
    {"row_among", row_among, METH_VARARGS, "See twin_filters.row_among."},
    {"split", split, METH_VARARGS, "See twin.split."},
    {"take_operations", take_operations, METH_VARARGS, "See twin_members.take_operations."},
    {"take_run", take_run, METH_VARARGS, "See twin.take_run."},
    {"write_plain", write_plain, METH_VARARGS, "See twin.write_plain."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernel", "What each event costs most, on its bytes.", -1, functions,
    NULL, NULL, NULL, NULL,
};

/* Make once what all calls share. */
static int begin(void)
{
    for (int i = 0; i < NAMES; i++)
        if (names[i] == NULL && (names[i] = PyUnicode_InternFromString(spellings[i])) == NULL)
            return -1;
    if (records_type == NULL)
        records_type = (PyTypeObject *)PyType_FromSpec(&records_spec);
    if (events_type == NULL)
        events_type = (PyTypeObject *)PyType_FromSpec(&events_spec);
    if (shift == NULL)
        shift = PyLong_FromLong(64);
    if (mask == NULL)
        mask = PyLong_FromString("ffffffffffffffffffffffffffffffff", NULL, 16);
    if (head_type == NULL)
        head_type = (PyTypeObject *)PyType_FromSpec(&head_spec);
    if (!records_type || !events_type || !head_type || !shift || !mask)
        return -1;
    return choose_secrets();
}

PyMODINIT_FUNC PyInit__kernel(void)
{
    PyObject *module = begin() < 0 ? NULL : PyModule_Create(&definition);
    if (module != NULL && (PyModule_AddStringConstant(module, "SOURCE", SOURCE) < 0 ||
                           PyModule_AddObjectRef(module, "Head", (PyObject *)head_type) < 0))
        Py_CLEAR(module);
    return module;
}
