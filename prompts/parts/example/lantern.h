// lantern.h: keep a lantern alight in the wind.
#include <math.h>

enum { WAIT, TRIM, REFILL };

typedef struct {
    float oil_max;
    int gusts;           // half ticks of one step
    float oil, flame;
    double wear;
    int refills;
    unsigned int age, rng;
    float view[3];
} Lantern;

unsigned int draw(Lantern* l, unsigned int bound, const char* site);   // the adapter's: served, or from l->rng

void look(Lantern* l) {
    l->view[0] = l->oil / l->oil_max;
    l->view[1] = l->flame;
    l->view[2] = l->refills > 0;
}

void light(Lantern* l) {
    l->oil = l->oil_max;
    l->flame = 1;
    l->wear = 0;
    l->refills = 3;
    l->age = 0;
    look(l);
}

// Returns 1 when the lantern is out.
int tend(Lantern* l, int action, float* reward) {
    l->age += 1;
    if (action == REFILL) {
        l->refills--;
        l->oil = l->oil_max;
        *reward = 0;
        return 0;
    }
    if (action == TRIM) l->flame = fminf(l->flame + 0.3, 1.5);
    for (int i = 0; i < l->gusts; i++) {
        l->oil -= 0.1 * l->flame;
        l->flame -= draw(l, 8, "wind") / 16.0f - l->refills / 2 * 0.01f;
        l->wear += l->flame * l->flame;
        if (l->flame <= 0 || l->oil <= 0) break;
    }
    int out = l->flame <= 0 || l->oil <= 0;
    *reward = out ? -1 : 0.05;
    look(l);
    return out;
}
