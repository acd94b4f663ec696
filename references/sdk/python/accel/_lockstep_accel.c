// What costs time in the SDK's loop, in C: draws, tokens to actions, packing records and digesting them, with the bytes
// of the Python in lockstep_sdk/lane.py and draws.py, which stays the definition.
//
// The loop itself is Python (`Lane._play_fast`), because Python calls the methods of an environment faster than C does; it
// hands over what they said. Whatever is unusual there (a number that is no plain int or float, a wrong count) goes
// back to the pure methods, record by record and draw by draw, before anything was changed: they alone know how errors
// sound.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "records are little-endian, and this file writes them as they lie in memory"
#endif

#if PY_VERSION_HEX < 0x030B0000
#define PyFloat_Pack4(x, p, le) _PyFloat_Pack4(x, (unsigned char *)(p), le)
#define PyFloat_Pack8(x, p, le) _PyFloat_Pack8(x, (unsigned char *)(p), le)
#endif

enum { AGENTS_MAX = 16 };
enum { RESET = 1, ENDED = 3 << 8 };

// What a function answers that may come upon something unusual. Only FAILED leaves an exception behind.
typedef enum { FAILED = -1, DONE = 0, ODD = 1 } Result;

// Names of attributes, made once.
#define NAMES(X) X(_look) X(_pure_below) X(_pure_note) X(_pure_word) X(_repack) X(__bytes__)
#define X(name) static PyObject *n_##name;
NAMES(X)
#undef X

// ---------------------------------------------------------------------------------------------------------------------
// XXH64, from its specification
// ---------------------------------------------------------------------------------------------------------------------

#define PRIME_1 0x9E3779B185EBCA87ull
#define PRIME_2 0xC2B2AE3D27D4EB4Full
#define PRIME_3 0x165667B19E3779F9ull
#define PRIME_4 0x85EBCA77C2B2AE63ull
#define PRIME_5 0x27D4EB2F165667C5ull

static inline uint64_t rotate(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

static inline uint64_t load(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

static inline uint64_t turn(uint64_t sum, uint64_t input) { return rotate(sum + input * PRIME_2, 31) * PRIME_1; }

static uint64_t xxh64(const uint8_t *at, size_t size, uint64_t seed) {
    uint64_t hash = seed + PRIME_5;
    const uint8_t *end = at + size;
    if (size >= 32) {
        uint64_t a = seed + PRIME_1 + PRIME_2, b = seed + PRIME_2, c = seed, d = seed - PRIME_1;
        for (; end - at >= 32; at += 32) {
            a = turn(a, load(at));
            b = turn(b, load(at + 8));
            c = turn(c, load(at + 16));
            d = turn(d, load(at + 24));
        }
        hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        const uint64_t sums[4] = {a, b, c, d};
        for (int i = 0; i < 4; i++) hash = (hash ^ turn(0, sums[i])) * PRIME_1 + PRIME_4;
    }
    hash += size;
    for (; end - at >= 8; at += 8) hash = rotate(hash ^ turn(0, load(at)), 27) * PRIME_1 + PRIME_4;
    if (end - at >= 4) {
        uint32_t word;
        memcpy(&word, at, 4);
        hash = rotate(hash ^ word * PRIME_1, 23) * PRIME_2 + PRIME_3;
        at += 4;
    }
    for (; at < end; at++) hash = rotate(hash ^ *at * PRIME_5, 11) * PRIME_1;
    hash = (hash ^ hash >> 33) * PRIME_2;
    hash = (hash ^ hash >> 29) * PRIME_3;
    return hash ^ hash >> 32;
}

static PyObject *digest(PyObject *module, PyObject *args) {
    Py_buffer data;
    unsigned long long seed;
    if (!PyArg_ParseTuple(args, "Ky*", &seed, &data)) return NULL;
    uint64_t hash = xxh64(data.buf, (size_t)data.len, seed);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(hash);
}

// ---------------------------------------------------------------------------------------------------------------------
// Draws: the base of the classes in draws.py, which have all that is not urgent
// ---------------------------------------------------------------------------------------------------------------------

typedef struct {
    PyObject_HEAD
    PyObject *log, *sites;
    PyObject *list;                        // the listed values; NULL when seeded
    unsigned long long seed, stream;
    unsigned long long at;                 // the index of the next draw, or the place in the list
    unsigned int episode;
    char logged;
    char cached;                           // `words` are those of `block`
    uint64_t block;
    uint32_t words[4];
} Draws;

static void threefry(const Draws *self, uint64_t block, uint32_t x[4]) {
    static const uint8_t turns[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};
    uint32_t key[5] = {(uint32_t)self->seed, (uint32_t)(self->seed >> 32), (uint32_t)self->stream,
                       (uint32_t)(self->stream >> 32)};
    key[4] = key[0] ^ key[1] ^ key[2] ^ key[3] ^ 0x1BD11BDA;
    x[0] = (uint32_t)block + key[0], x[1] = self->episode + key[1], x[2] = key[2], x[3] = key[3];
    for (int round = 0; round < 20; round++) {
        int b = round & 1 ? 3 : 1, d = 4 - b;
        const uint8_t *bits = turns[round & 7];
        x[0] += x[b], x[b] = (x[b] << bits[0] | x[b] >> (32 - bits[0])) ^ x[0];
        x[2] += x[d], x[d] = (x[d] << bits[1] | x[d] >> (32 - bits[1])) ^ x[2];
        if ((round & 3) == 3) {
            int turn = round / 4 + 1;
            for (int i = 0; i < 4; i++) x[i] += key[(turn + i) % 5];
            x[3] += (uint32_t)turn;
        }
    }
}

// The word at a place; fails only for a list that holds something else than numbers.
static Result word_at(Draws *self, unsigned long long at, uint32_t *word) {
    if (self->list) {
        *word = 0;
        if (at < (unsigned long long)PyList_GET_SIZE(self->list)) {
            unsigned long value = PyLong_AsUnsignedLong(PyList_GET_ITEM(self->list, (Py_ssize_t)at));
            if (value > UINT32_MAX) return PyErr_Clear(), ODD;
            *word = (uint32_t)value;
        }
        return DONE;
    }
    if (!self->cached || self->block != at >> 2) {
        self->block = at >> 2;
        threefry(self, self->block, self->words);
        self->cached = 1;
    }
    *word = self->words[at & 3];
    return DONE;
}

// The number of a site (borrowed), or NULL for what Python has to look at.
static PyObject *site_of(const Draws *self, PyObject *site) {
    if (!self->sites || !PyDict_Check(self->sites) || !(site == Py_None || PyUnicode_CheckExact(site))) return NULL;
    return PyDict_GetItemWithError(self->sites, site);
}

static Result note_down(Draws *self, PyObject *site, PyObject *bound, PyObject *value) {
    if (PyList_Append(self->log, site) || PyList_Append(self->log, bound)) return FAILED;
    return PyList_Append(self->log, value) ? FAILED : DONE;
}

// The method of the pure class, on this very object.
static PyObject *purely(Draws *self, PyObject *name, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    Py_ssize_t all = count + (names ? PyTuple_GET_SIZE(names) : 0);
    PyObject **stack = PyMem_New(PyObject *, all + 1);
    if (!stack) return PyErr_NoMemory();
    stack[0] = (PyObject *)self;
    memcpy(stack + 1, args, (size_t)all * sizeof *stack);
    PyObject *result = PyObject_VectorcallMethod(name, stack, (size_t)count + 1, names);
    PyMem_Free(stack);
    return result;
}

static PyObject *draws_below(Draws *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *site = NULL;
    unsigned long bound = 0;
    uint32_t word;
    if (!names && (count == 1 || count == 2) && PyLong_CheckExact(args[0])) {
        bound = PyLong_AsUnsignedLong(args[0]);
        PyErr_Clear();
        site = self->logged ? site_of(self, count == 2 ? args[1] : Py_None) : Py_None;
    }
    if (!site || !bound || bound > UINT32_MAX || (self->logged && !self->log) || word_at(self, self->at, &word))
        return purely(self, n__pure_below, args, count, names);
    self->at++;
    PyObject *value = PyLong_FromUnsignedLong(self->list ? word % bound : (uint64_t)word * bound >> 32);
    if (value && self->logged && note_down(self, site, args[0], value)) Py_CLEAR(value);
    return value;
}

static PyObject *word_bound;               // 2^32

static PyObject *draws_word(Draws *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *site = NULL;
    uint32_t word;
    if (!names && count <= 1) site = self->logged ? site_of(self, count ? args[0] : Py_None) : Py_None;
    if (!site || (self->logged && !self->log) || word_at(self, self->at, &word))
        return purely(self, n__pure_word, args, count, names);
    self->at++;
    PyObject *value = PyLong_FromUnsignedLong(word);
    if (value && self->logged && note_down(self, site, word_bound, value)) Py_CLEAR(value);
    return value;
}

static PyObject *draws_note(Draws *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *site = NULL;
    if (!names && (count == 2 || count == 3) && self->logged && self->log)
        site = site_of(self, count == 3 ? args[2] : Py_None);
    if (!site) return purely(self, n__pure_note, args, count, names);
    if (note_down(self, site, args[0], args[1])) return NULL;
    Py_RETURN_NONE;
}

static PyObject *draws_start(Draws *self, PyObject *args, PyObject *keywords) {
    static char *names[] = {"seed", "stream", "episode", "index", "listed", NULL};
    PyObject *listed = Py_None;
    unsigned long long seed, stream, index = 0;
    unsigned int episode;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "KKI|KO", names, &seed, &stream, &episode, &index, &listed))
        return NULL;
    if (listed != Py_None && !PyList_Check(listed)) return PyErr_Format(PyExc_TypeError, "listed is not a list");
    self->seed = seed, self->stream = stream, self->episode = episode, self->at = index;
    self->cached = 0;
    Py_INCREF(listed);
    Py_XSETREF(self->list, listed);
    if (listed == Py_None) Py_CLEAR(self->list);
    Py_RETURN_NONE;
}

static PyObject *draws_next_episode(Draws *self, PyObject *episode) {
    unsigned long number = PyLong_AsUnsignedLongMask(episode);
    if (PyErr_Occurred()) return NULL;
    self->episode = (unsigned int)number;
    if (!self->list) self->at = 0, self->cached = 0;
    Py_RETURN_NONE;
}

static PyObject *draws_refill(Draws *self, PyObject *place) {
    unsigned long long at = PyLong_AsUnsignedLongLongMask(place);
    uint32_t word = 0;
    if (PyErr_Occurred()) return NULL;
    if (!self->list) (void)word_at(self, at, &word);
    return PyLong_FromUnsignedLong(word);
}

static PyObject *draws_words(Draws *self, void *_) {
    if (!self->list) return PyTuple_New(0);
    Py_INCREF(self->list);
    return self->list;
}

static PyObject *draws_listed(Draws *self, void *_) { return PyBool_FromLong(self->list != NULL); }

static PyObject *draws_key(Draws *self, void *_) { return Py_BuildValue("KK", self->seed, self->stream); }

static void draws_dealloc(Draws *self) {
    Py_CLEAR(self->log);
    Py_CLEAR(self->sites);
    Py_CLEAR(self->list);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef draws_methods[] = {
    {"below", (PyCFunction)(void (*)(void))draws_below, METH_FASTCALL | METH_KEYWORDS, "A uniform number below a bound."},
    {"word", (PyCFunction)(void (*)(void))draws_word, METH_FASTCALL | METH_KEYWORDS, "A whole u32."},
    {"note", (PyCFunction)(void (*)(void))draws_note, METH_FASTCALL | METH_KEYWORDS, "Logs a draw made elsewhere."},
    {"start", (PyCFunction)(void (*)(void))draws_start, METH_VARARGS | METH_KEYWORDS, "Begins anew."},
    {"next_episode", (PyCFunction)draws_next_episode, METH_O, "Goes to the first draw of an episode."},
    {"_refill", (PyCFunction)draws_refill, METH_O, "The word at a place, for the pure class."},
    {NULL},
};

static PyMemberDef draws_members[] = {
    {"log", T_OBJECT_EX, offsetof(Draws, log), 0, NULL},
    {"sites", T_OBJECT_EX, offsetof(Draws, sites), 0, NULL},
    {"_at", T_ULONGLONG, offsetof(Draws, at), 0, NULL},
    {"_episode", T_UINT, offsetof(Draws, episode), READONLY, NULL},
    {"_logged", T_BOOL, offsetof(Draws, logged), 0, NULL},
    {NULL},
};

static PyGetSetDef draws_getters[] = {
    {"_words", (getter)draws_words, NULL, NULL, NULL},
    {"listed", (getter)draws_listed, NULL, NULL, NULL},
    {"_key", (getter)draws_key, NULL, NULL, NULL},
    {NULL},
};

static PyTypeObject DrawsType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_lockstep_accel.Draws",
    .tp_basicsize = sizeof(Draws),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = (destructor)draws_dealloc,
    .tp_methods = draws_methods,
    .tp_members = draws_members,
    .tp_getset = draws_getters,
};

// ---------------------------------------------------------------------------------------------------------------------
// Player: what all lanes of a session share, and the frame that is being played
// ---------------------------------------------------------------------------------------------------------------------

typedef struct {
    char code;                             // of `struct`; R is a region, s an array as bytes
    size_t size;                           // what the value takes; for R in its memory
} Item;

typedef struct {
    PyObject_HEAD
    unsigned int agents, width, count, extra, mask_words;
    int continuous, masked, harness_resets, single;
    Item *canonical, *view_items, reward;  // an item for each value; those of all agents' observations; one reward
    Py_ssize_t canonical_count, view_count;
    Py_ssize_t stride;                     // bytes of tokens a step
    size_t canonical_size, view_size, fixed_size;
    PyObject *heads, *legal_sets, *free, *refuse;
    uint8_t *view;                         // the bytes of the observations

    // From here on: the frame.
    PyObject *lane, *log;
    PyObject *choices[AGENTS_MAX];         // NULL for who isn't deciding
    PyObject *words[AGENTS_MAX];           // of the masks; NULL for zeros
    PyObject *written;                     // `view` is of this object; NULL when that may change under the same name
    PyObject *unpacked;                    // a tuple in the place of `view`, with numbers that only Python can pack
    PyTypeObject *buffer_type;             // a type whose buffer is known to be what `bytes` would copy
    Py_ssize_t told;                       // how much of the log has been in a record
    Py_buffer tokens;                      // obj is NULL between two frames
    Py_ssize_t at;                         // where the tokens of the next step are
    uint8_t *bytes;                        // the records of this window
    size_t size, room;
} Player;

static size_t size_of(char code) {
    switch (code) {
    case 'b': case 'B': return 1;
    case 'h': case 'H': return 2;
    case 'i': case 'I': case 'f': return 4;
    default: return 8;
    }
}

// Writes one number as `struct` would. ODD for what it might write too, or refuse in words of its own.
static inline Result pack(char code, PyObject *value, uint8_t *at) {
    if (code == 'f' || code == 'd') {
        double x;
        if (PyFloat_Check(value)) x = PyFloat_AS_DOUBLE(value);
        else if (PyLong_CheckExact(value) || PyBool_Check(value)) x = PyLong_AsDouble(value);
        else return ODD;
        if (x == -1.0 && PyErr_Occurred()) return PyErr_Clear(), ODD;
        if (code == 'd') return memcpy(at, &x, 8), DONE;
        float y = (float)x;
        // A NaN keeps its bits or not, as this version of Python does it.
        if (isnan(x)) return PyFloat_Pack4(x, (char *)at, 1) ? (PyErr_Clear(), ODD) : DONE;
        if (isinf(y) && !isinf(x)) return ODD;
        return memcpy(at, &y, 4), DONE;
    }
    if (!PyLong_Check(value)) return ODD;
    if (code == 'Q') {
        unsigned long long x = PyLong_AsUnsignedLongLong(value);
        if (x == (unsigned long long)-1 && PyErr_Occurred()) return PyErr_Clear(), ODD;
        return memcpy(at, &x, 8), DONE;
    }
    int overflow;
    long long x = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) return ODD;
    switch (code) {
#define CASE(letter, type) case letter: { type y = (type)x; return y == x ? (memcpy(at, &y, sizeof y), DONE) : ODD; }
    CASE('i', int32_t) CASE('I', uint32_t) CASE('b', int8_t) CASE('B', uint8_t)
    CASE('h', int16_t) CASE('H', uint16_t) CASE('q', int64_t)
#undef CASE
    }
    return ODD;
}

// The memory of what `_is_bytes` in schema.py accepts and `bytes` would copy as it lies there.
static Result borrow(Player *p, PyObject *value, Py_ssize_t size, Py_buffer *buffer) {
    PyTypeObject *type = Py_TYPE(value);
    if (type != p->buffer_type) {
        int known = PyBytes_CheckExact(value) || PyByteArray_CheckExact(value) || PyMemoryView_Check(value);
        int sized = (type->tp_as_sequence && type->tp_as_sequence->sq_length) ||
                    (type->tp_as_mapping && type->tp_as_mapping->mp_length);
        int other = PyUnicode_Check(value) || PyList_Check(value) || PyTuple_Check(value) || PyDict_Check(value);
        if (!PyObject_CheckBuffer(value)) return ODD;
        if (!known && (!sized || other || PyObject_HasAttr((PyObject *)type, n___bytes__))) return ODD;
        Py_INCREF(type);
        Py_XSETREF(p->buffer_type, type);
    }
    if (PyObject_GetBuffer(value, buffer, PyBUF_SIMPLE)) return PyErr_Clear(), ODD;
    if (buffer->len == size) return DONE;
    PyBuffer_Release(buffer);
    return ODD;
}

static Result reserve(Player *p, size_t more) {
    if (p->room - p->size >= more) return DONE;
    size_t room = 2 * p->room + more;
    uint8_t *bytes = PyMem_Realloc(p->bytes, room);
    if (!bytes) return PyErr_NoMemory(), FAILED;
    p->bytes = bytes, p->room = room;
    return DONE;
}

// ---------------------------------------------------------------------------------------------------------------------
// Tokens to actions
// ---------------------------------------------------------------------------------------------------------------------

static PyObject *action_of(Player *p, PyObject *choice, const uint8_t *token_at) {
    uint32_t token;
    memcpy(&token, token_at, 4);
    if (!choice) return p->continuous ? PyFloat_FromDouble(0.0) : PyLong_FromLong(0);
    if (p->continuous) {
        uint32_t bits = token >> 1 | token << 31;
        float value;
        memcpy(&value, &bits, 4);
        return isfinite(value) ? PyFloat_FromDouble(value) : PyObject_CallFunction(p->refuse, "k", (unsigned long)token);
    }
    if (p->extra && token >> 31) return PyLong_FromUnsignedLong(p->count + (token & 0x7FFFFFFF) % p->extra);
    if (choice == p->free) return PyLong_FromUnsignedLong(token % p->count);
    PyObject *action = PyTuple_GET_ITEM(choice, token % (size_t)PyTuple_GET_SIZE(choice));
    Py_INCREF(action);
    return action;
}

// What `step` is called with next: a tuple of one action, or a list with a number or a tuple for each agent.
static PyObject *decode(Player *p) {
    if (p->at >= p->tokens.len) Py_RETURN_NONE;
    const uint8_t *token = (const uint8_t *)p->tokens.buf + p->at;
    PyObject *actions = p->single ? PyTuple_New(1) : PyList_New(p->agents);
    for (unsigned int agent = 0; actions && agent < p->agents; agent++) {
        PyObject *action = p->width == 1 ? action_of(p, p->choices[agent], token) : PyTuple_New(p->width);
        for (unsigned int i = 0; p->width != 1 && action && i < p->width; i++) {
            PyObject *one = action_of(p, p->choices[agent], token + 4 * (size_t)i);
            if (one) PyTuple_SET_ITEM(action, i, one);
            else Py_CLEAR(action);
        }
        token += 4 * (size_t)p->width;
        if (!action) Py_CLEAR(actions);
        else if (p->single) PyTuple_SET_ITEM(actions, 0, action);
        else PyList_SET_ITEM(actions, agent, action);
    }
    return actions;
}

// ---------------------------------------------------------------------------------------------------------------------
// Records
// ---------------------------------------------------------------------------------------------------------------------

// What an agent may do, from what `legal` said; NULL for who isn't deciding.
static Result allow(Player *p, unsigned int agent, PyObject *legal) {
    PyObject *pair = NULL, *words = NULL, *choice = legal ? p->free : NULL;
    if (legal && p->masked) {
        pair = PyDict_GetItemWithError(p->legal_sets, legal);
        if (pair) Py_INCREF(pair);
        else if (PyErr_Occurred() || !(pair = PyObject_GetItem(p->legal_sets, legal))) return FAILED;
        words = PyTuple_GET_ITEM(pair, 0), choice = PyTuple_GET_ITEM(pair, 1);
    }
    Py_XINCREF(words);
    Py_XSETREF(p->words[agent], words);
    Py_XINCREF(choice);
    Py_XSETREF(p->choices[agent], choice);
    Py_XDECREF(pair);
    return DONE;
}

// Takes over the observations `seen`.
static Result look(Player *p, PyObject *seen) {
    Py_buffer buffer;
    Py_CLEAR(p->written);
    Py_CLEAR(p->unpacked);
    if (PyTuple_CheckExact(seen) && PyTuple_GET_SIZE(seen) == p->view_count) {
        uint8_t *at = p->view;
        Result result = DONE;
        for (Py_ssize_t i = 0; i < p->view_count && result == DONE; at += p->view_items[i].size, i++)
            result = pack(p->view_items[i].code, PyTuple_GET_ITEM(seen, i), at);
        if (result == ODD) Py_INCREF(seen), p->unpacked = seen;
        Py_INCREF(seen);
        p->written = seen;
        return DONE;
    }
    if (borrow(p, seen, (Py_ssize_t)p->view_size, &buffer) == DONE) {
        memcpy(p->view, buffer.buf, p->view_size);
        PyBuffer_Release(&buffer);
        if (PyBytes_CheckExact(seen)) Py_INCREF(seen), p->written = seen;
        return DONE;
    }
    PyObject *bytes = PyObject_CallMethodOneArg(p->lane, n__look, seen);
    if (!bytes) return FAILED;
    int wrong = !PyBytes_Check(bytes) || (size_t)PyBytes_GET_SIZE(bytes) != p->view_size;
    if (wrong) PyErr_SetString(PyExc_SystemError, "the observations of the SDK have another size");
    else memcpy(p->view, PyBytes_AS_STRING(bytes), p->view_size);
    Py_DECREF(bytes);
    return wrong ? FAILED : DONE;
}

static inline Result pack_canonical(Player *p, PyObject *values, uint8_t *at) {
    if (!PyTuple_CheckExact(values) && !PyList_CheckExact(values)) return ODD;
    if (PySequence_Fast_GET_SIZE(values) != p->canonical_count) return ODD;
    for (Py_ssize_t i = 0; i < p->canonical_count; i++) {
        // Borrowing memory may run somebody's code, and that code may shorten a list.
        if (i >= PySequence_Fast_GET_SIZE(values)) return ODD;
        PyObject *value = PySequence_Fast_GET_ITEM(values, i);
        Item item = p->canonical[i];
        if (item.code != 'R' && item.code != 's') {
            if (pack(item.code, value, at)) return ODD;
            at += item.size;
            continue;
        }
        Py_buffer buffer;
        Py_INCREF(value);
        int odd = (item.code == 's' && !PyBytes_CheckExact(value)) || borrow(p, value, (Py_ssize_t)item.size, &buffer);
        Py_DECREF(value);
        if (odd) return ODD;
        uint64_t hash = item.code == 'R' ? xxh64(buffer.buf, item.size, 0) : 0;
        size_t size = item.code == 'R' ? 8 : item.size;
        memcpy(at, item.code == 'R' ? (void *)&hash : buffer.buf, size);
        at += size;
        PyBuffer_Release(&buffer);
    }
    return DONE;
}

// The whole record, at the end of `bytes`; when it is ODD, nothing was appended.
static Result pack_record(Player *p, uint32_t head, Py_ssize_t from, PyObject *values, PyObject *rewards) {
    Py_ssize_t items = p->told - from;
    if (items % 3 || p->unpacked || PyList_GET_SIZE(p->log) < from) return ODD;
    uint32_t count = (uint32_t)(items / 3);
    if (reserve(p, p->fixed_size + 20 * (size_t)count)) return FAILED;
    uint8_t *at = p->bytes + p->size;
    memcpy(at, &head, 4);
    memcpy(at + 4, &count, 4);
    at += 8;
    for (Py_ssize_t i = from; i < p->told; i += 3, at += 20) {
        PyObject **draw = ((PyListObject *)p->log)->ob_item + i;
        if (pack('I', draw[0], at) || pack('Q', draw[1], at + 4) || pack('Q', draw[2], at + 12)) return ODD;
    }
    if (pack_canonical(p, values, at)) return ODD;
    at += p->canonical_size;
    for (unsigned int agent = 0; agent < p->agents; agent++)
        for (unsigned int word = 0; word < p->mask_words; word++, at += 4) {
            memset(at, 0, 4);
            if (p->words[agent] && pack('I', PyTuple_GET_ITEM(p->words[agent], word), at)) return ODD;
        }
    memcpy(at, p->view, p->view_size);
    at += p->view_size;
    if (!PyList_CheckExact(rewards) && !PyTuple_CheckExact(rewards)) return ODD;
    if (PySequence_Fast_GET_SIZE(rewards) != (Py_ssize_t)p->agents) return ODD;
    for (unsigned int agent = 0; agent < p->agents; agent++, at += p->reward.size)
        if (pack(p->reward.code, PySequence_Fast_GET_ITEM(rewards, agent), at)) return ODD;
    p->size = (size_t)(at - p->bytes);
    return DONE;
}

// The same record by Python.
static Result repack(Player *p, uint32_t head, Py_ssize_t from, PyObject *values, PyObject *rewards) {
    PyObject *masks = PyTuple_New((Py_ssize_t)p->agents * p->mask_words), *record = NULL;
    for (Py_ssize_t i = 0; masks && i < PyTuple_GET_SIZE(masks); i++) {
        PyObject *words = p->words[i / p->mask_words];
        PyObject *word = words ? PyTuple_GET_ITEM(words, i % p->mask_words) : PyLong_FromLong(0);
        if (words) Py_INCREF(word);
        if (word) PyTuple_SET_ITEM(masks, i, word);
        else Py_CLEAR(masks);
    }
    PyObject *view = p->written && PyTuple_CheckExact(p->written) ? p->written : NULL;
    Py_XINCREF(view);
    if (!view) view = PyBytes_FromStringAndSize((const char *)p->view, (Py_ssize_t)p->view_size);
    PyObject *numbers = masks && view ? Py_BuildValue("(knn)", (unsigned long)head, from, p->told) : NULL;
    if (numbers) record = PyObject_CallMethodObjArgs(p->lane, n__repack, numbers, values, masks, view, rewards, NULL);
    Py_XDECREF(masks);
    Py_XDECREF(view);
    Py_XDECREF(numbers);
    Result result = FAILED;
    if (record && !PyBytes_Check(record)) PyErr_SetString(PyExc_SystemError, "a record of the SDK is no bytes");
    else if (record && reserve(p, (size_t)PyBytes_GET_SIZE(record)) == DONE) {
        memcpy(p->bytes + p->size, PyBytes_AS_STRING(record), (size_t)PyBytes_GET_SIZE(record));
        p->size += (size_t)PyBytes_GET_SIZE(record);
        result = DONE;
    }
    Py_XDECREF(record);
    return result;
}

static Result allow_all(Player *p, PyObject *legal) {
    if (p->single) return allow(p, 0, legal == (PyObject *)p ? NULL : legal);
    if (!PyList_CheckExact(legal) || PyList_GET_SIZE(legal) != (Py_ssize_t)p->agents)
        return PyErr_SetString(PyExc_SystemError, "legal: one item for each agent"), FAILED;
    Result result = DONE;
    for (unsigned int agent = 0; result == DONE && agent < p->agents; agent++) {
        PyObject *one = PyList_GET_ITEM(legal, agent);
        result = allow(p, agent, one == (PyObject *)p ? NULL : one);
    }
    return result;
}

// choose(legal): the actions of the next step, without a record.
static PyObject *player_choose(Player *p, PyObject *legal) {
    if (allow_all(p, legal)) return NULL;
    PyObject *actions = decode(p);
    p->at += p->stride;
    return actions;
}

// note(head, deciders, legal, observations, values, rewards): appends a record and returns the actions of the next step.
// `legal` is the answer for a single agent, else a list; the player itself stands for who isn't deciding.
static PyObject *player_note(Player *p, PyObject *const *args, Py_ssize_t count) {
    if (count != 6 || !p->tokens.obj) return PyErr_SetString(PyExc_SystemError, "note: six arguments in a frame"), NULL;
    uint32_t head = (uint32_t)PyLong_AsUnsignedLongMask(args[0]);
    if (allow_all(p, args[2]) || (args[3] != p->written && look(p, args[3]))) return NULL;
    long deciders = PyLong_CheckExact(args[1]) ? PyLong_AsLong(args[1]) : -1;
    if (deciders < 0 || deciders >> p->agents) {
        PyErr_Clear();
        PyObject *bits = PyObject_GetItem(p->heads, args[1]);
        if (!bits) return NULL;
        deciders = PyLong_AsLong(bits) >> 16;
        Py_DECREF(bits);
    }
    head |= (uint32_t)deciders << 16;
    Py_ssize_t from = p->told;
    if (PyList_GET_SIZE(p->log) > from) p->told = PyList_GET_SIZE(p->log);
    Result result = pack_record(p, head, from, args[4], args[5]);
    if (result == ODD) result = repack(p, head, from, args[4], args[5]);
    if (result) return NULL;
    if (!(head & RESET)) p->at += p->stride;
    // A reset follows, and with it other choices.
    if (head & ENDED && p->harness_resets) Py_RETURN_NONE;
    return decode(p);
}

// begin(lane, tokens, choices, log): starts a frame and returns the actions of its first step.
static PyObject *player_begin(Player *p, PyObject *args) {
    Py_buffer tokens;
    PyObject *lane, *choices, *log;
    if (!PyArg_ParseTuple(args, "Oy*OO!", &lane, &tokens, &choices, &PyList_Type, &log)) return NULL;
    int wrong = p->tokens.obj != NULL || tokens.len % p->stride ||
                (!p->single && (!PyList_Check(choices) || PyList_GET_SIZE(choices) != (Py_ssize_t)p->agents));
    for (unsigned int agent = 0; !wrong && agent < p->agents; agent++) {
        PyObject *choice = p->single ? choices : PyList_GET_ITEM(choices, agent);
        if (choice == Py_None) choice = NULL;
        else wrong = choice != p->free && (!PyTuple_Check(choice) || !PyTuple_GET_SIZE(choice));
        Py_XINCREF(choice);
        Py_XSETREF(p->choices[agent], choice);
    }
    if (wrong) {
        PyBuffer_Release(&tokens);
        return PyErr_SetString(PyExc_SystemError, "begin: a frame in a frame, or wrong tokens or choices"), NULL;
    }
    Py_INCREF(lane);
    Py_XSETREF(p->lane, lane);
    Py_INCREF(log);
    Py_XSETREF(p->log, log);
    p->tokens = tokens;
    p->at = p->told = 0;
    p->size = 0;
    return decode(p);
}

// close(chain): digests the window and returns the next chain.
static PyObject *player_close(Player *p, PyObject *chain) {
    uint64_t seed = PyLong_AsUnsignedLongLong(chain);
    if (PyErr_Occurred()) return NULL;
    uint64_t hash = xxh64(p->bytes, p->size, seed);
    p->size = 0;
    return PyLong_FromUnsignedLongLong(hash);
}

static void forget(Player *p) {
    Py_CLEAR(p->lane);
    Py_CLEAR(p->log);
    Py_CLEAR(p->written);
    Py_CLEAR(p->unpacked);
    Py_CLEAR(p->buffer_type);
    for (int agent = 0; agent < AGENTS_MAX; agent++) {
        Py_CLEAR(p->choices[agent]);
        Py_CLEAR(p->words[agent]);
    }
    if (p->tokens.obj) PyBuffer_Release(&p->tokens);
    p->tokens.obj = NULL;
}

// end(): the frame is over, well or not; returns the choices of all agents.
static PyObject *player_end(Player *p, PyObject *_) {
    PyObject *choices = PyList_New(p->agents);
    for (unsigned int agent = 0; choices && agent < p->agents; agent++) {
        PyObject *choice = p->choices[agent] ? p->choices[agent] : Py_None;
        Py_INCREF(choice);
        PyList_SET_ITEM(choices, agent, choice);
    }
    forget(p);
    return choices;
}

static void player_dealloc(Player *p) {
    forget(p);
    Py_CLEAR(p->heads);
    Py_CLEAR(p->legal_sets);
    Py_CLEAR(p->free);
    Py_CLEAR(p->refuse);
    PyMem_Free(p->canonical);
    PyMem_Free(p->view_items);
    PyMem_Free(p->view);
    PyMem_Free(p->bytes);
    Py_TYPE(p)->tp_free((PyObject *)p);
}

// From a string of codes and a tuple with the sizes of all R and s among them; adds up what a record holds of them.
static Item *items_of(PyObject *codes, PyObject *sizes, Py_ssize_t *count, size_t *total) {
    *count = PyBytes_GET_SIZE(codes);
    Item *items = PyMem_New(Item, *count + 1);
    if (!items) return (Item *)PyErr_NoMemory();
    Py_ssize_t sized = 0;
    for (Py_ssize_t i = 0; i < *count; i++) {
        char code = PyBytes_AS_STRING(codes)[i];
        items[i] = (Item){code, size_of(code)};
        if (code == 'R' || code == 's') {
            PyObject *size = PyTuple_GetItem(sizes, sized++);
            items[i].size = size ? PyLong_AsSize_t(size) : 0;
            if (PyErr_Occurred()) return PyMem_Free(items), NULL;
        }
        *total += code == 'R' ? 8 : items[i].size;
    }
    return items;
}

static int player_init(Player *p, PyObject *args, PyObject *keywords) {
    static char *names[] = {"agents", "width", "count", "extra", "mask_words", "continuous", "masked", "harness_resets",
                            "single", "reward", "codes", "sizes", "view_codes", "heads", "legal_sets", "free", "refuse",
                            NULL};
    int reward;
    PyObject *codes, *sizes, *view_codes, *heads, *legal_sets, *free, *refuse;
    if (p->view) return PyErr_SetString(PyExc_TypeError, "a player is made once"), -1;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "IIIIIppppCSO!SO!O!OO", names, &p->agents, &p->width, &p->count,
                                     &p->extra, &p->mask_words, &p->continuous, &p->masked, &p->harness_resets,
                                     &p->single, &reward, &codes, &PyTuple_Type, &sizes, &view_codes, &PyDict_Type,
                                     &heads, &PyDict_Type, &legal_sets, &free, &refuse))
        return -1;
    if (!p->agents || p->agents > AGENTS_MAX || !p->width || (!p->continuous && !p->count))
        return PyErr_SetString(PyExc_ValueError, "agents, width or count is out of range"), -1;
    p->stride = 4 * (Py_ssize_t)p->agents * p->width;
    p->reward = (Item){(char)reward, size_of((char)reward)};
    p->canonical = items_of(codes, sizes, &p->canonical_count, &p->canonical_size);
    p->view_items = p->canonical ? items_of(view_codes, sizes, &p->view_count, &p->view_size) : NULL;
    p->view = p->view_items ? PyMem_Malloc(p->view_size + 1) : NULL;
    if (!p->view) return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
    p->fixed_size = 8 + p->canonical_size + p->view_size + p->agents * (p->reward.size + 4 * (size_t)p->mask_words);
    Py_INCREF(p->heads = heads);
    Py_INCREF(p->legal_sets = legal_sets);
    Py_INCREF(p->free = free);
    Py_INCREF(p->refuse = refuse);
    return 0;
}

static PyMethodDef player_methods[] = {
    {"begin", (PyCFunction)player_begin, METH_VARARGS, "Starts a frame; returns the actions of its first step."},
    {"note", (PyCFunction)(void (*)(void))player_note, METH_FASTCALL, "Appends a record; returns the next actions."},
    {"choose", (PyCFunction)player_choose, METH_O, "The next actions, without a record."},
    {"close", (PyCFunction)player_close, METH_O, "Digests a window; returns the chain."},
    {"end", (PyCFunction)player_end, METH_NOARGS, "Ends the frame; returns the choices."},
    {NULL},
};

static PyTypeObject PlayerType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_lockstep_accel.Player",
    .tp_basicsize = sizeof(Player),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)player_init,
    .tp_dealloc = (destructor)player_dealloc,
    .tp_methods = player_methods,
};

static PyMethodDef functions[] = {
    {"xxh64", digest, METH_VARARGS, "xxh64(seed, data): the digest as a number."},
    {NULL},
};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_lockstep_accel", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__lockstep_accel(void) {
#define X(name) if (!(n_##name = PyUnicode_InternFromString(#name))) return NULL;
    NAMES(X)
#undef X
    if (!(word_bound = PyLong_FromUnsignedLongLong(1ull << 32))) return NULL;
    if (PyType_Ready(&DrawsType) || PyType_Ready(&PlayerType)) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    Py_INCREF(&DrawsType);
    Py_INCREF(&PlayerType);
    // Raised whenever the SDK and this file must change together.
    if (PyModule_AddObject(module, "Draws", (PyObject *)&DrawsType) ||
        PyModule_AddObject(module, "Player", (PyObject *)&PlayerType) || PyModule_AddIntConstant(module, "VERSION", 1))
        Py_CLEAR(module);
    return module;
}
