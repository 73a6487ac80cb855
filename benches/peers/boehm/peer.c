/* Boehm GC: GC_register_finalizer. See ../README.md. */
#include <gc/gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *kind;
static long n, calls;
static void **keep;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static void tick(void *object, void *data) {
    (void)object;
    (void)data;
    calls++;
}

static int registers(void) { return strcmp(kind, "none") != 0; }

static void print(const char *name, double nanoseconds) {
    static int any;
    if (!name) {
        puts("}");
        fflush(stdout);
        any = 0;
        return;
    }
    printf("%s\"%s\":%.2f", any ? "," : "{", name, nanoseconds);
    any = 1;
}

/* Not inlined, so that no pointer stays in a register or on the stack. */
__attribute__((noinline)) static void allocate(void) {
    for (long i = 0; i < n; i++) keep[i] = GC_MALLOC_ATOMIC(32);
}

__attribute__((noinline)) static void set(void *object, GC_finalization_proc finalizer) {
    GC_register_finalizer(object, finalizer, 0, 0, 0);
}

__attribute__((noinline)) static void clear_stack(void) {
    volatile char bytes[8192];
    memset((void *)bytes, 0, sizeof bytes);
}

static double collect(void) {
    clear_stack();
    double begun = now();
    GC_enable();
    GC_gcollect();
    GC_disable();
    return now() - begun;
}

static void cycle(int dead) {
    double begun = now();
    allocate();
    print("alloc", (now() - begun) / n);
    if (registers()) {
        begun = now();
        for (long i = 0; i < n; i++) set(keep[i], tick);
        print("register", (now() - begun) / n);
    }
    collect();
    print("live", collect() / n);
    unsigned long state = 88172645463325252ul;
    for (long i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if ((int)((state >> 32) % 100) < dead) keep[i] = 0;
    }
    print("discover", collect() / n);
    if (registers()) {
        begun = now();
        GC_invoke_finalizers();
        print("drain", (now() - begun) / n);
    }
    print("free", collect() / n);
    memset(keep, 0, n * sizeof *keep);
    collect();
    GC_invoke_finalizers();
    collect();
}

static void cancel(void) {
    allocate();
    for (long i = 0; i < n; i++) set(keep[i], tick);
    double begun = now();
    for (long i = 0; i < n; i++) set(keep[i], 0);
    print("cancel", (now() - begun) / n);
    memset(keep, 0, n * sizeof *keep);
    collect();
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void churn(void) {
    long window = n / 10 > 1 ? n / 10 : 1, count = n / 100;
    double *steps = malloc(count * sizeof *steps);
    calls = 0;
    GC_enable();
    double begun = now(), last = begun;
    for (long i = 0; i < n; i++) {
        void *object = GC_MALLOC_ATOMIC(32);
        if (registers()) set(object, tick);
        keep[i % window] = object;
        if (i % 100 == 99) {
            GC_invoke_finalizers();
            double end = now();
            steps[i / 100] = end - last;
            last = end;
        }
    }
    print("churn", (now() - begun) / n);
    GC_disable();
    if (registers()) print("backlog", 100.0 * (n - window - calls) / n);
    memset(keep, 0, n * sizeof *keep);
    collect();
    GC_invoke_finalizers();
    collect();
    qsort(steps, count, sizeof *steps, by_size);
    static const struct { const char *name; double part; } parts[] = {{"p50", .5}, {"p99", .99}, {"p999", .999}, {"max", 1}};
    for (int i = 0; i < 4; i++) print(parts[i].name, steps[(long)((count - 1) * parts[i].part)]);
    free(steps);
}

int main(int count, char **arguments) {
    if (count < 5) return 2;
    kind = arguments[1];
    n = atol(arguments[3]);
    GC_INIT();
    GC_set_finalize_on_demand(1);
    GC_disable();
    keep = GC_MALLOC_UNCOLLECTABLE(n * sizeof *keep);
    unsigned version = GC_get_version();
    printf("{\"version\":\"Boehm GC %u.%u.%u\"}\n", version >> 16, version >> 8 & 255, version & 255);
    fflush(stdout);
    for (int byte; (byte = getchar()) != EOF;) {
        if (byte != '\n') continue;
        if (!strcmp(arguments[2], "cycle")) cycle(atoi(arguments[4]));
        else if (!strcmp(arguments[2], "cancel")) cancel();
        else churn();
        print(0, 0);
    }
    return 0;
}
