// Java: java.lang.ref.Cleaner. See ../README.md.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.lang.ref.Cleaner;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.StringJoiner;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

public final class Peer {
    /** 32 bytes with its header. */
    static final class Thing {
        long a, b;
    }

    /** What a cleaner runs; it must not refer to the object. */
    static final class Action implements Runnable {
        final int number;

        Action(int number) {
            this.number = number;
        }

        @Override
        public void run() {
            tick();
        }
    }

    static final Cleaner cleaner = Cleaner.create();
    static String kind;
    static int n;
    static Object[] keep;
    static volatile int calls;
    static volatile int wanted;
    static volatile CountDownLatch done;

    /** The cleaner has one thread, so there is one writer. */
    static void tick() {
        int now = calls + 1;
        calls = now;
        if (now == wanted) {
            done.countDown();
        }
    }

    interface Body {
        void run() throws Exception;
    }

    static void timed(Map<String, Double> phases, String name, Body body) throws Exception {
        long begun = System.nanoTime();
        body.run();
        phases.put(name, (double) (System.nanoTime() - begun) / n);
    }

    static void expect(int count) {
        done = new CountDownLatch(1);
        calls = 0;
        wanted = count;
    }

    static void allocate() {
        for (int i = 0; i < n; i++) {
            keep[i] = new Thing();
        }
    }

    static void register() {
        for (int i = 0; i < n; i++) {
            cleaner.register(keep[i], new Action(i));
        }
    }

    static int drop(int percent) {
        long state = 88172645463325252L;
        int dropped = 0;
        for (int i = 0; i < n; i++) {
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
            if ((state >>> 32) % 100 < percent) {
                keep[i] = null;
                dropped++;
            }
        }
        return dropped;
    }

    /** The cleaner's thread waits until the latch that is returned is counted down. */
    static CountDownLatch hold() throws Exception {
        CountDownLatch gate = new CountDownLatch(1);
        CountDownLatch entered = new CountDownLatch(1);
        registerHolder(gate, entered);
        System.gc();
        entered.await();
        return gate;
    }

    static void registerHolder(CountDownLatch gate, CountDownLatch entered) {
        cleaner.register(new Thing(), () -> {
            entered.countDown();
            try {
                gate.await();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        });
    }

    /** Processor time of the thread that moves references from the collector to their queues, in nanoseconds. */
    static long handlerTime() {
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        for (long id : threads.getAllThreadIds()) {
            if (threads.getThreadInfo(id) != null && threads.getThreadInfo(id).getThreadName().equals("Reference Handler")) {
                return threads.getThreadCpuTime(id);
            }
        }
        return 0;
    }

    static Map<String, Double> cycle(int dead) throws Exception {
        Map<String, Double> phases = new LinkedHashMap<>();
        boolean registers = !kind.equals("none");
        keep = new Object[n];
        timed(phases, "alloc", Peer::allocate);
        if (registers) {
            timed(phases, "register", Peer::register);
        }
        System.gc();
        timed(phases, "live", System::gc);
        CountDownLatch gate = registers ? hold() : null;
        expect(-1);
        int dropped = drop(dead);
        expect(dropped);
        long before = handlerTime();
        timed(phases, "discover", System::gc);
        // Queued means in the cleaner's queue: until the handler has moved all.
        long last = -1;
        for (long now = handlerTime(); now != last; now = handlerTime()) {
            last = now;
            Thread.sleep(20);
        }
        phases.merge("discover", (double) (last - before) / n, Double::sum);
        if (registers) {
            timed(phases, "drain", () -> {
                gate.countDown();
                done.await();
            });
        }
        timed(phases, "free", System::gc);
        if (registers && dropped < n) {
            wanted = n;
            done = new CountDownLatch(1);
            keep = null;
            System.gc();
            done.await();
        }
        keep = null;
        System.gc();
        return phases;
    }

    /** Puts values into a random order, the same each time. */
    static void shuffle(Object[] values) {
        long state = 88172645463325252L;
        for (int last = values.length - 1; last > 0; last--) {
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
            int other = (int) ((state >>> 32) % (last + 1));
            Object value = values[last];
            values[last] = values[other];
            values[other] = value;
        }
    }

    /** Both in a random order if so said. */
    static Map<String, Double> cancel(boolean random) throws Exception {
        Map<String, Double> phases = new LinkedHashMap<>();
        keep = new Object[n];
        allocate();
        if (random) {
            shuffle(keep);
        }
        expect(n);
        Cleaner.Cleanable[] handles = new Cleaner.Cleanable[n];
        timed(phases, "register", () -> {
            for (int i = 0; i < n; i++) {
                handles[i] = cleaner.register(keep[i], new Action(i));
            }
        });
        if (random) {
            shuffle(handles);
        }
        // clean() takes the registration back and runs the action, here and now.
        timed(phases, "cancel", () -> {
            for (Cleaner.Cleanable handle : handles) {
                handle.clean();
            }
        });
        keep = null;
        System.gc();
        return phases;
    }

    /** Bytes of the process that are in memory. */
    static double resident() throws Exception {
        return Double.parseDouble(Files.readString(Path.of("/proc/self/statm")).split(" ")[1]) * 4096;
    }

    /** No collection before: what that had moved from would be there, and the process would not grow. */
    static Map<String, Double> memory() throws Exception {
        Map<String, Double> phases = new LinkedHashMap<>();
        CountDownLatch gate = hold();
        keep = new Object[n];
        allocate();
        double small = resident();
        register();
        phases.put("memory", (resident() - small) / n);
        expect(n);
        Arrays.fill(keep, null);
        System.gc();
        phases.put("queued", (resident() - small) / n);
        gate.countDown();
        done.await();
        return phases;
    }

    static final class Node {
        final Node left, right;
        long a;

        Node(Node left, Node right) {
            this.left = left;
            this.right = right;
        }
    }

    static volatile Node kept;

    /** A tree of so many nodes. */
    static Node grow(int nodes) {
        if (nodes == 0) {
            return null;
        }
        int below = nodes - 1;
        return new Node(grow(below / 2), grow(below - below / 2));
    }

    static Map<String, Double> tree() throws Exception {
        Map<String, Double> phases = new LinkedHashMap<>();
        timed(phases, "alloc", () -> kept = grow(n));
        System.gc();
        timed(phases, "live", System::gc);
        kept = null;
        timed(phases, "free", System::gc);
        return phases;
    }

    static Map<String, Double> treeChurn() {
        Map<String, Double> phases = new LinkedHashMap<>();
        Node tree = grow(n);
        int trees = (4 * n + 126) / 127;
        long begun = System.nanoTime();
        for (int i = 0; i < trees; i++) {
            kept = grow(127);
        }
        phases.put("churn", (double) (System.nanoTime() - begun) / (127 * trees));
        kept = tree;
        kept = null;
        return phases;
    }

    static Map<String, Double> churn() throws Exception {
        Map<String, Double> phases = new LinkedHashMap<>();
        boolean registers = !kind.equals("none");
        long[] steps = new long[n / 100];
        expect(n);
        timed(phases, "churn", () -> churning(registers, steps));
        if (registers) {
            phases.put("backlog", 100.0 * (n - Math.max(n / 10, 1) - calls) / n);
        }
        while (registers && done.getCount() > 0) {
            System.gc();
            done.await(10, TimeUnit.MILLISECONDS);
        }
        Arrays.sort(steps);
        double[] parts = {.5, .99, .999, 1};
        String[] names = {"p50", "p99", "p999", "max"};
        for (int i = 0; i < parts.length; i++) {
            phases.put(names[i], (double) steps[(int) ((steps.length - 1) * parts[i])]);
        }
        return phases;
    }

    static void churning(boolean registers, long[] steps) {
        Object[] ring = new Object[Math.max(n / 10, 1)];
        long last = System.nanoTime();
        for (int i = 0; i < n; i++) {
            Thing thing = new Thing();
            if (registers) {
                cleaner.register(thing, new Action(i));
            }
            ring[i % ring.length] = thing;
            if (i % 100 == 99) {
                long now = System.nanoTime();
                steps[i / 100] = now - last;
                last = now;
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        kind = arguments[0];
        n = Integer.parseInt(arguments[2]);
        System.out.printf("{\"version\":\"%s %s\"}%n", System.getProperty("java.vm.name"), System.getProperty("java.vm.version"));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        while (in.readLine() != null) {
            Map<String, Double> phases = switch (arguments[1]) {
                case "cycle" -> cycle(Integer.parseInt(arguments[3]));
                case "cancel" -> cancel(false);
                case "random" -> cancel(true);
                case "memory" -> memory();
                case "tree" -> tree();
                case "tree-churn" -> treeChurn();
                default -> churn();
            };
            StringJoiner line = new StringJoiner(",", "{", "}");
            phases.forEach((name, value) -> line.add("\"" + name + "\":" + value));
            System.out.println(line);
        }
    }
}
