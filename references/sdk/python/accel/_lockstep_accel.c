// The SDK's hot loop in C: it plays the tokens of a lane, packs its records and digests them, with the bytes of the
// Python in lockstep_sdk/lane.py and draws.py, which stays the definition.
//
// Whatever is unusual here (a number that is no plain int or float, a wrong count, an odd deciders) goes back to that
// Python, record by record and draw by draw, before anything was changed: so it alone knows how errors sound. Nothing
// is kept in C between two calls of `play` but the draws.

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
enum { RESET = 1, TERMINATED = 1 << 8, TRUNCATED = 1 << 9 };

// What a function answers that may come upon something unusual. Only FAILED leaves an exception behind.
typedef enum { FAILED = -1, DONE = 0, ODD = 1 } Result;

// Names of attributes, made once.
#define NAMES(X) \
    X(_choices) X(_logged) X(_look) X(_next_episode) X(_observe) X(_pure_below) X(_pure_note) X(_pure_word) X(_repack) \
    X(_rewards) X(_told) X(_unpack) X(__bytes__) X(chain) X(choices) X(deciders) X(decode) X(draws) X(elapsed) X(env) \
    X(layout) X(legal) X(log) X(masks) X(observations) X(packs) X(step) X(values) X(view) X(written)
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
    if (PyErr_Occurred() || (!self->list && word_at(self, at, &word))) return NULL;
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
// Player: what all lanes of a session share, and the loop
// ---------------------------------------------------------------------------------------------------------------------

typedef struct {
    PyObject_HEAD
    unsigned int agents, width, count, extra, mask_words;
    int continuous, masked, harness_resets, single;
    char reward;                           // a code of `struct`
    PyObject *codes;                       // canonical: a code for each value; R is a region, s an array as bytes
    PyObject *sizes;                       // the sizes of all R and s, in order
    PyObject *view_codes;                  // a code for each number of all agents' observations
    PyObject *legal_sets, *no_rewards, *free;
    size_t view_size, tail_size;           // of the observations; of a record but for head and draws
} Player;

typedef struct {
    Player *plan;
    PyObject *lane, *env, *step, *values, *legal, *log;
    PyObject *rewards;                     // of the last step; NULL before the first of a window
    PyObject *written;                     // whose bytes `view_bytes` are; NULL when it may change under the same name
    PyObject *choices[AGENTS_MAX];         // NULL who isn't deciding
    PyObject *words[AGENTS_MAX];           // of the masks; NULL for zeros
    uint8_t *view_bytes;
    int view_packed;                       // false: `written` is a tuple that only Python can pack
    Py_ssize_t told;                       // how much of the log has been in a record
    unsigned long elapsed;
    PyTypeObject *buffer_type;             // a type whose buffer is known to be what `bytes` would copy
    uint8_t *bytes;                        // the records of this window
    size_t size, room;
} Play;

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
        int wrong = code == 'f' ? PyFloat_Pack4(x, (char *)at, 1) : PyFloat_Pack8(x, (char *)at, 1);
        return wrong ? (PyErr_Clear(), ODD) : DONE;
    }
    if (!PyLong_Check(value)) return ODD;
    if (code == 'Q') {
        unsigned long long x = PyLong_AsUnsignedLongLong(value);
        if (x == (unsigned long long)-1 && PyErr_Occurred()) return PyErr_Clear(), ODD;
        memcpy(at, &x, 8);
        return DONE;
    }
    int overflow;
    long long x = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) return ODD;
    size_t size = size_of(code);
    if (size < 8) {
        // Small letters are signed.
        long long top = 1ll << (8 * size - (code >= 'a')), low = code >= 'a' ? -top : 0;
        if (x < low || x >= top) return ODD;
    }
    memcpy(at, &x, size);
    return DONE;
}

// The memory of what `_is_bytes` in schema.py accepts and `bytes` would copy as it lies there.
static Result borrow(Play *p, PyObject *value, Py_ssize_t size, Py_buffer *buffer) {
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

static Result reserve(Play *p, size_t more) {
    if (p->room - p->size >= more) return DONE;
    size_t room = 2 * p->room + more;
    uint8_t *bytes = PyMem_Realloc(p->bytes, room);
    if (!bytes) return PyErr_NoMemory(), FAILED;
    p->bytes = bytes, p->room = room;
    return DONE;
}

static Result append(Play *p, PyObject *record) {
    if (!record) return FAILED;
    Result result = FAILED;
    if (!PyBytes_Check(record)) PyErr_SetString(PyExc_SystemError, "a record of the SDK is no bytes");
    else if (reserve(p, (size_t)PyBytes_GET_SIZE(record)) == DONE) {
        memcpy(p->bytes + p->size, PyBytes_AS_STRING(record), (size_t)PyBytes_GET_SIZE(record));
        p->size += (size_t)PyBytes_GET_SIZE(record);
        result = DONE;
    }
    Py_DECREF(record);
    return result;
}

// Takes `choices`, `written`, `view` and `_told` from the lane: at the beginning, and after Python worked on it.
static Result load_lane(Play *p) {
    const Player *plan = p->plan;
    Result result = FAILED;
    PyObject *choices = PyObject_GetAttr(p->lane, n_choices), *written = NULL, *view = NULL, *told = NULL;
    if (!choices) return FAILED;
    if (!plan->single && (!PyList_Check(choices) || PyList_GET_SIZE(choices) != (Py_ssize_t)plan->agents)) goto wrong;
    for (unsigned int agent = 0; agent < plan->agents; agent++) {
        PyObject *choice = plan->single ? choices : PyList_GET_ITEM(choices, agent);
        if (choice == Py_None) choice = NULL;
        else if (choice != plan->free && (!PyTuple_Check(choice) || !PyTuple_GET_SIZE(choice))) goto wrong;
        Py_XINCREF(choice);
        Py_XSETREF(p->choices[agent], choice);
    }
    written = PyObject_GetAttr(p->lane, n_written);
    view = written ? PyObject_GetAttr(p->lane, n_view) : NULL;
    told = view ? PyObject_GetAttr(p->lane, n__told) : NULL;
    if (!told) goto done;
    p->told = PyLong_AsSsize_t(told);
    p->view_packed = 0;
    // A tuple is packed again when it is met again.
    Py_CLEAR(p->written);
    if (!PyTuple_CheckExact(written) && PyTuple_Check(view) && PyTuple_GET_SIZE(view) == 1) {
        PyObject *bytes = PyTuple_GET_ITEM(view, 0);
        if (!PyBytes_Check(bytes) || (size_t)PyBytes_GET_SIZE(bytes) != plan->view_size) goto wrong;
        memcpy(p->view_bytes, PyBytes_AS_STRING(bytes), plan->view_size);
        p->view_packed = 1;
        if (written != Py_None) Py_INCREF(written), p->written = written;
    }
    result = PyErr_Occurred() ? FAILED : DONE;
    goto done;
wrong:
    PyErr_SetString(PyExc_SystemError, "the lane is not one of this SDK");
done:
    Py_DECREF(choices);
    Py_XDECREF(written);
    Py_XDECREF(view);
    Py_XDECREF(told);
    return result;
}

static int set(PyObject *target, PyObject *name, PyObject *value) {
    int wrong = !value || PyObject_SetAttr(target, name, value);
    Py_XDECREF(value);
    return wrong;
}

// Gives it all back to the lane. `_look` sorts out `written`, `view` and `packs`.
static Result store_lane(Play *p, PyObject *observations) {
    const Player *plan = p->plan;
    PyObject *choices = PyList_New(plan->agents), *masks = PyTuple_New((Py_ssize_t)plan->agents * plan->mask_words);
    Result result = FAILED;
    if (!choices || !masks) goto done;
    for (unsigned int agent = 0; agent < plan->agents; agent++) {
        PyObject *choice = p->choices[agent] ? p->choices[agent] : Py_None;
        Py_INCREF(choice);
        PyList_SET_ITEM(choices, agent, choice);
        for (unsigned int word = 0; word < plan->mask_words; word++) {
            PyObject *one = p->words[agent] ? PyTuple_GET_ITEM(p->words[agent], word) : PyLong_FromLong(0);
            if (p->words[agent]) Py_INCREF(one);
            if (!one) goto done;
            PyTuple_SET_ITEM(masks, (Py_ssize_t)agent * plan->mask_words + word, one);
        }
    }
    if (PyObject_SetAttr(p->lane, n__choices, choices) || PyObject_SetAttr(p->lane, n_masks, masks)) goto done;
    if (set(p->lane, n__told, PyLong_FromSsize_t(p->told))) goto done;
    if (set(p->lane, n_elapsed, PyLong_FromUnsignedLong(p->elapsed))) goto done;
    if (observations) {
        PyObject *none = PyObject_CallMethodOneArg(p->lane, n__look, observations);
        if (!none) goto done;
        Py_DECREF(none);
    }
    result = DONE;
done:
    Py_XDECREF(choices);
    Py_XDECREF(masks);
    return result;
}
