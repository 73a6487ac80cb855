(* OCaml: Gc.finalise. See ../README.md. Finalizers run inside the collection: discovery ends with the first call, drain
   with the last. *)
type thing = { mutable a : int; mutable b : int; mutable c : int; mutable d : int }

let kind = Sys.argv.(1)
let work = Sys.argv.(2)
let n = int_of_string Sys.argv.(3)
let dead = int_of_string Sys.argv.(4)
let registers = kind <> "none"
let now () = Unix.gettimeofday () *. 1e9
let calls = ref 0
let wanted = ref (-1)
let first = ref 0.
let last = ref 0.

let tick _ =
  if !calls = 0 then first := now ();
  incr calls;
  if !calls = !wanted then last := now ()

let phases = ref []
let note name value = phases := (name, value) :: !phases

let timed name body =
  let begun = now () in
  body ();
  note name ((now () -. begun) /. float n)

let dummy = { a = 0; b = 0; c = 0; d = 0 }
let keep = ref [||]

let shuffled below =
  let state = ref 12345 in
  fun () ->
    state := ((!state * 1103515245) + 12345) land 0x7fffffff;
    (!state lsr 16) mod below

let allocate () =
  for i = 0 to n - 1 do
    !keep.(i) <- { a = i; b = 0; c = 0; d = 0 }
  done

let register () = Array.iter (Gc.finalise tick) !keep

let cycle () =
  (* Where collections are timed, none happens by itself, as far as that can be had. *)
  Gc.set { (Gc.get ()) with Gc.space_overhead = 5000 };
  wanted := -1;
  keep := Array.make n dummy;
  timed "alloc" allocate;
  if registers then timed "register" register;
  Gc.full_major ();
  timed "live" Gc.full_major;
  let next = shuffled 100 and dropped = ref 0 in
  for i = 0 to n - 1 do
    if next () < dead then begin
      !keep.(i) <- dummy;
      incr dropped
    end
  done;
  calls := 0;
  wanted := !dropped;
  let begun = now () in
  Gc.full_major ();
  let ended = now () in
  let queued, run = if registers then (!first, !last) else (ended, ended) in
  if registers && !calls <> !dropped then failwith (Printf.sprintf "%d finalizers ran, wanted %d" !calls !dropped);
  note "discover" ((queued -. begun) /. float n);
  if registers then note "drain" ((run -. queued) /. float n);
  let again = now () in
  Gc.full_major ();
  note "free" ((now () -. again +. ended -. run) /. float n);
  wanted := -1;
  keep := [||];
  Gc.full_major ();
  Gc.full_major ()

(* Two draws make a number that is large enough. *)
let shuffle values =
  let next = shuffled 32768 in
  for last = Array.length values - 1 downto 1 do
    let high = next () in
    let other = ((high * 32768) + next ()) mod (last + 1) in
    let value = values.(last) in
    values.(last) <- values.(other);
    values.(other) <- value
  done

let quiet () = Gc.set { (Gc.get ()) with Gc.space_overhead = 5000 }

(* There is no taking back. *)
let random () =
  quiet ();
  wanted := -1;
  keep := Array.make n dummy;
  allocate ();
  shuffle !keep;
  timed "register" register;
  keep := [||];
  Gc.full_major ();
  Gc.full_major ()

(* Bytes of the process that are in memory. *)
let resident () =
  let file = open_in "/proc/self/statm" in
  let line = input_line file in
  close_in file;
  Scanf.sscanf line "%d %d" (fun _ pages -> float (pages * 4096))

(* Finalizers run inside the collection, so none is ever queued. *)
let memory () =
  quiet ();
  keep := Array.make n dummy;
  allocate ();
  Gc.full_major ();
  let small = resident () in
  register ();
  note "memory" ((resident () -. small) /. float n)

type node = Leaf | Node of { left : node; right : node; a : int }

let rec grow nodes =
  if nodes = 0 then Leaf
  else
    let below = nodes - 1 in
    let left = grow (below / 2) in
    let right = grow (below - (below / 2)) in
    Node { left; right; a = nodes }

let kept = ref Leaf

let tree () =
  quiet ();
  timed "alloc" (fun () -> kept := grow n);
  Gc.full_major ();
  timed "live" Gc.full_major;
  kept := Leaf;
  timed "free" Gc.full_major

let tree_churn () =
  Gc.set { (Gc.get ()) with Gc.space_overhead = 120 };
  kept := grow n;
  let trees = ((4 * n) + 126) / 127 in
  let begun = now () in
  for _ = 1 to trees do
    if Sys.opaque_identity (grow 127) = Leaf then failwith "no tree"
  done;
  note "churn" ((now () -. begun) /. float (127 * trees));
  kept := Leaf;
  Gc.full_major ()

let churn () =
  Gc.set { (Gc.get ()) with Gc.space_overhead = 120 };
  calls := 0;
  wanted := -1;
  let window = max (n / 10) 1 in
  let steps = Array.make (n / 100) 0. in
  keep := Array.make window dummy;
  timed "churn" (fun () ->
      let before = ref (now ()) in
      for i = 0 to n - 1 do
        let thing = { a = i; b = 0; c = 0; d = 0 } in
        if registers then Gc.finalise tick thing;
        !keep.(i mod window) <- thing;
        if i mod 100 = 99 then begin
          let time = now () in
          steps.(i / 100) <- time -. !before;
          before := time
        end
      done);
  if registers then note "backlog" (100. *. float (n - window - !calls) /. float n);
  keep := [||];
  Gc.full_major ();
  Gc.full_major ();
  Array.sort compare steps;
  let at part = steps.(int_of_float (float (Array.length steps - 1) *. part)) in
  List.iter (fun (name, part) -> note name (at part)) [ ("p50", 0.5); ("p99", 0.99); ("p999", 0.999); ("max", 1.) ]

let () =
  Printf.printf "{\"version\":\"OCaml %s\"}\n%!" Sys.ocaml_version;
  try
    while true do
      ignore (input_line stdin);
      phases := [];
      (match work with
      | "cycle" -> cycle ()
      | "random" -> random ()
      | "memory" -> memory ()
      | "tree" -> tree ()
      | "tree-churn" -> tree_churn ()
      | _ -> churn ());
      let text (name, value) = Printf.sprintf "\"%s\":%.2f" name value in
      Printf.printf "{%s}\n%!" (String.concat "," (List.rev_map text !phases))
    done
  with End_of_file -> ()
