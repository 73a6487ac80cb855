// .NET and Mono: a class with a finalizer. See ../README.md.
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using System.Threading;

class Plain {
    public long A = 1, B = 2;
}

class Thing {
    public long A = 1, B = 2;

    ~Thing() {
        Peer.Tick();
    }
}

class Node {
    public Node Left, Right;

    // A tree of so many nodes.
    public static Node Grow(int nodes) {
        if (nodes == 0) return null;
        int below = nodes - 1;
        Node left = Grow(below / 2), right = Grow(below - below / 2);
        return new Node { Left = left, Right = right };
    }
}

/// Its finalizer waits, and with it the thread that runs all finalizers.
class Holder {
    ~Holder() {
        Peer.Entered.Set();
        Peer.Gate.WaitOne();
    }
}

static class Peer {
    public static ManualResetEvent Entered, Gate, Done;
    static volatile int calls, wanted;
    static string kind;
    static int n;
    static object[] keep;

    public static void Tick() {
        int now = calls + 1;
        calls = now;
        if (now == wanted) Done.Set();
    }

    static void Expect(int count) {
        Done = new ManualResetEvent(false);
        calls = 0;
        wanted = count;
    }

    static double Timed(Action body) {
        long begun = Stopwatch.GetTimestamp();
        body();
        return (Stopwatch.GetTimestamp() - begun) * (1e9 / Stopwatch.Frequency) / n;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static void Allocate() {
        if (kind == "none") for (int i = 0; i < n; i++) keep[i] = new Plain();
        else for (int i = 0; i < n; i++) keep[i] = new Thing();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int Drop(int percent) {
        ulong state = 88172645463325252;
        int dropped = 0;
        for (int i = 0; i < n; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if ((int)((state >> 32) % 100) < percent) {
                keep[i] = null;
                dropped++;
            }
        }
        return dropped;
    }

    // On a thread of its own, so that no stack slot keeps it.
    static void Hold() {
        Entered = new ManualResetEvent(false);
        Gate = new ManualResetEvent(false);
        Thread thread = new Thread(() => new Holder());
        thread.Start();
        thread.Join();
        while (!Entered.WaitOne(10)) GC.Collect();
    }

    static Dictionary<string, double> Cycle(int dead) {
        var phases = new Dictionary<string, double>();
        bool registers = kind != "none";
        keep = new object[n];
        phases["alloc"] = Timed(Allocate);
        GC.Collect();
        phases["live"] = Timed(GC.Collect);
        Expect(-1);
        if (registers) Hold();
        // Mono looks for references on the stack, so a few of the dropped may seem alive.
        int dropped = Drop(dead);
        dropped -= dropped / 1000;
        Expect(dropped);
        phases["discover"] = Timed(GC.Collect);
        if (registers) phases["drain"] = Timed(() => { Gate.Set(); Done.WaitOne(60000); });
        if (calls < dropped && registers) throw new Exception(calls + " finalizers ran, wanted " + dropped);
        phases["free"] = Timed(GC.Collect);
        keep = null;
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        return phases;
    }

    // In a random order if so said, the same each time.
    static Dictionary<string, double> Cancel(bool random) {
        var phases = new Dictionary<string, double>();
        keep = new object[n];
        Allocate();
        ulong state = 88172645463325252;
        for (int last = n - 1; random && last > 0; last--) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            int other = (int)((state >> 32) % (ulong)(last + 1));
            object value = keep[last];
            keep[last] = keep[other];
            keep[other] = value;
        }
        phases["cancel"] = Timed(() => { foreach (object thing in keep) GC.SuppressFinalize(thing); });
        keep = null;
        GC.Collect();
        return phases;
    }

    static Node kept;

    static Dictionary<string, double> Tree() {
        var phases = new Dictionary<string, double>();
        phases["alloc"] = Timed(() => kept = Node.Grow(n));
        GC.Collect();
        phases["live"] = Timed(GC.Collect);
        kept = null;
        phases["free"] = Timed(GC.Collect);
        return phases;
    }

    static Dictionary<string, double> TreeChurn() {
        var phases = new Dictionary<string, double>();
        kept = Node.Grow(n);
        int trees = (4 * n + 126) / 127;
        double each = Timed(() => {
            for (int i = 0; i < trees; i++)
                if (Node.Grow(127) == null) throw new Exception("no tree");
        });
        phases["churn"] = each * n / (127 * trees);
        kept = null;
        GC.Collect();
        return phases;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static void Churning(double[] steps) {
        keep = new object[Math.Max(n / 10, 1)];
        long last = Stopwatch.GetTimestamp();
        for (int i = 0; i < n; i++) {
            keep[i % keep.Length] = kind == "none" ? (object)new Plain() : new Thing();
            if (i % 100 == 99) {
                long now = Stopwatch.GetTimestamp();
                steps[i / 100] = (now - last) * (1e9 / Stopwatch.Frequency);
                last = now;
            }
        }
    }

    static Dictionary<string, double> Churn() {
        var phases = new Dictionary<string, double>();
        var steps = new double[n / 100];
        Expect(n);
        phases["churn"] = Timed(() => Churning(steps));
        if (kind != "none") phases["backlog"] = 100.0 * (n - keep.Length - calls) / n;
        keep = null;
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Array.Sort(steps);
        double[] parts = { .5, .99, .999, 1 };
        string[] names = { "p50", "p99", "p999", "max" };
        for (int i = 0; i < parts.Length; i++) phases[names[i]] = steps[(int)((steps.Length - 1) * parts[i])];
        return phases;
    }

    static string Version() {
        Type mono = Type.GetType("Mono.Runtime");
        if (mono == null) return ".NET Core " + Environment.Version;
        var name = mono.GetMethod("GetDisplayName", BindingFlags.NonPublic | BindingFlags.Static);
        return "Mono " + name.Invoke(null, null);
    }

    static int Main(string[] arguments) {
        kind = arguments[0];
        n = int.Parse(arguments[2]);
        Console.WriteLine("{\"version\":\"" + Version() + "\"}");
        while (Console.ReadLine() != null) {
            Dictionary<string, double> phases;
            if (arguments[1] == "cycle") phases = Cycle(int.Parse(arguments[3]));
            else if (arguments[1] == "cancel") phases = Cancel(false);
            else if (arguments[1] == "random") phases = Cancel(true);
            else if (arguments[1] == "tree") phases = Tree();
            else if (arguments[1] == "tree-churn") phases = TreeChurn();
            else phases = Churn();
            var line = new StringBuilder();
            foreach (var phase in phases)
                line.AppendFormat(CultureInfo.InvariantCulture, "{0}\"{1}\":{2:F2}", line.Length == 0 ? "{" : ",", phase.Key, phase.Value);
            Console.WriteLine(line + "}");
        }
        return 0;
    }
}
