//! What people and programs can see: the socket in both dialects, tandemctl, statistics.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::{Haproxy, PATIENCE, Stack, get, needs, text_command, wait_for, wait_until};

/// What people type: `echo COMMAND | socat stdio SOCKET`.
fn socat(socket: &Path, command: &str) -> String {
    let mut socat = Command::new("socat")
        .args(["-t20", "stdio", &format!("UNIX-CONNECT:{}", socket.display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("socat is installed");
    let mut stdin = socat.stdin.take().unwrap();
    writeln!(stdin, "{command}").unwrap();
    drop(stdin);
    let output = socat.wait_with_output().unwrap();
    assert!(output.status.success(), "{command}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn text_commands_tell_about_lbd() {
    needs!("socat");
    let stack = Stack::start();
    let ask = |command: &str| socat(&stack.lbd.socket(), command);

    let help = ask("help");
    for command in
        ["show info", "show stat", "show servers state", "show backend", "set server", "enable", "disable"]
    {
        assert!(help.contains(command), "help leaves out {command}: {help}");
    }
    let info = ask("show info");
    assert!(info.contains("Name: lbd\n") && info.contains(&format!("Pid: {}\n", stack.lbd.pid())), "{info}");
    let stat = testkit::read_csv(&ask("show stat"));
    let names: Vec<_> = stat.iter().map(|row| (row.text("pxname"), row.text("svname"))).collect();
    let expected = [("web", "FRONTEND"), ("app", "s1"), ("app", "s2"), ("app", "s3"), ("app", "BACKEND")];
    assert_eq!(names, expected);
    let state = ask("show servers state");
    assert!(state.starts_with("1\n# be_id be_name srv_id srv_name srv_addr "), "{state}");
    assert_eq!(state.lines().filter(|line| line.contains(" app ")).count(), 3, "{state}");
    assert_eq!(ask("show backend").trim_end(), "# name\napp");
    let both = ask("show backend; show info");
    assert!(both.contains("# name\napp\n") && both.contains("Name: lbd\n"), "`;` separates commands: {both}");
    assert!(ask("show stats").contains("show stat"), "an unknown command is told the nearest");
}

#[test]
fn text_commands_change_servers() {
    needs!("socat");
    let stack = Stack::start();
    let ask = |command: &str| socat(&stack.lbd.socket(), command);
    for (command, status) in [
        ("set server app/s1 state drain", "DRAIN"),
        ("set server app/s1 state maint", "MAINT"),
        ("set server app/s1 state ready", "UP"),
        ("disable server app/s1", "MAINT"),
        ("enable server app/s1", "UP"),
    ] {
        ask(command);
        stack.wait_for_status("s1", status);
    }
    ask("set server app/s1 weight 7");
    wait_until("the weight is in force", || stack.stat("app", "s1").number("weight") == 7);
    for (wrong, word) in [("set server app/s4 state drain", "s4"), ("set server app/s1 state drian", "drain")]
    {
        assert!(ask(wrong).contains(word), "{wrong}: {}", ask(wrong));
        assert_eq!(stack.status("s1"), "UP");
    }
}

#[test]
fn text_commands_tell_about_healthd() {
    needs!("socat");
    let stack = Stack::builder().config(|config, _| config.server("named", "localhost:1")).start();
    let ask = |command: &str| socat(&stack.healthd.socket(), command);
    assert!(ask("help").contains("show resolvers"), "{}", ask("help"));
    assert!(ask("show info").contains("Name: healthd\n"), "{}", ask("show info"));
    assert!(ask("show resolvers").contains("localhost"), "{}", ask("show resolvers"));
    let state = ask("show servers state");
    assert!(state.contains("s1") && state.contains("s3"), "{state}");
}

/// A client of the JSON dialect, as the protocol's specification describes it.
struct Json {
    lines: BufReader<UnixStream>,
}

impl Json {
    fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { lines: BufReader::new(stream) }
    }

    fn send(&mut self, line: &Value) {
        writeln!(self.lines.get_mut(), "{line}").unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(request);
        self.receive()
    }
}

#[test]
fn the_json_dialect_says_hello_answers_and_refuses() {
    let stack = Stack::start();
    for daemon in [&stack.lbd, &stack.healthd] {
        let mut json = Json::connect(&daemon.socket());
        let hello = json.ask(&json!({ "hello": { "protocol": 1, "client": "test" } }));
        assert_eq!(hello["hello"]["protocol"], 1, "{hello}");
        assert!(hello["hello"]["epoch"].is_u64(), "{hello}");
        let info = json.ask(&json!({ "id": 7, "request": "info", "unknown field": "ignored" }));
        assert_eq!((&info["id"], &info["ok"]["info"]["pid"]), (&json!(7), &json!(daemon.pid())), "{info}");
        let error = json.ask(&json!({ "id": 8, "request": "brew coffee" }));
        assert_eq!(
            (&error["id"], &error["error"]["code"]),
            (&json!(8), &json!("unknown_request")),
            "{error}"
        );
        let info = json.ask(&json!({ "id": 9, "request": "info" }));
        assert_eq!(info["id"], 9, "the connection goes on after a refusal: {info}");
    }
    let mut json = Json::connect(&stack.lbd.socket());
    let refusal = json.ask(&json!({ "hello": { "protocol": 99, "client": "test" } }));
    assert_eq!(refusal["error"]["code"], "bad_protocol", "{refusal}");
}

#[test]
fn verdicts_can_be_subscribed_to() {
    let mut stack = Stack::start();
    let mut json = Json::connect(&stack.healthd.socket());
    json.ask(&json!({ "hello": { "protocol": 1, "client": "test" } }));
    json.ask(&json!({ "id": 1, "request": "subscribe", "topic": "verdicts", "ping_ms": 100 }));
    let snapshot = json.receive();
    let items = snapshot["snapshot"]["items"].as_array().unwrap_or_else(|| panic!("{snapshot}")).clone();
    let servers: BTreeSet<_> = items.iter().filter_map(|item| item["verdict"]["server"].as_str()).collect();
    assert_eq!(servers, BTreeSet::from(["s1", "s2", "s3"]), "{snapshot}");
    let mut seq = snapshot["snapshot"]["seq"].as_u64().unwrap();

    stack.nginx[1].stop();
    let (mut down, mut pinged) = (false, false);
    // Every line is a ping or the next event; a hundred are far more than it takes.
    for _ in 0..400 {
        let line = json.receive();
        if let Some(event) = line.get("event") {
            seq += 1;
            assert_eq!(event["seq"].as_u64(), Some(seq), "no gap: {event}");
            let verdict = &event["item"]["verdict"];
            down |= verdict["server"] == "s2" && verdict["status"] == "down";
        } else {
            pinged |= line.get("ping").is_some();
        }
        if down && pinged {
            return;
        }
    }
    panic!("down: {down}, pinged: {pinged}");
}

#[test]
fn the_csv_has_the_columns_of_a_real_haproxy() {
    needs!("socat", "haproxy");
    let stack = Stack::start();
    let socket = stack.dir().join("haproxy.sock");
    let server = stack.server_address(1);
    let _haproxy = Haproxy::beside(&stack, "http", |bind| {
        format!(
            "frontend web\n bind {bind}\n default_backend app\nbackend app\n server s1 {server} check inter 200ms\n\
             global\n stats socket {}\n",
            socket.display()
        )
    });
    let header = |csv: String| csv.lines().next().unwrap_or_default().to_owned();
    let theirs = header(socat(&socket, "show stat"));
    let ours = header(get(stack.config.admin, "/;csv").text());
    let first = |header: &str| header.split(',').take(77).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(first(&ours), first(&theirs));
    assert_eq!(first(&ours).last().map(String::as_str), Some("algo"));

    // The words in the columns that scripts look at are the same, too.
    wait_until("haproxy has checked", || socat(&socket, "show stat").contains("L4OK"));
    let rows = testkit::read_csv(&socat(&socket, "show stat"));
    let them = rows.iter().find(|row| row.text("svname") == "s1").unwrap();
    let us = stack.stat("app", "s1");
    for column in ["status", "weight", "act", "bck", "type", "mode", "addr", "check_fall", "chkdown"] {
        assert_eq!(us.text(column), them.text(column), "column {column}");
    }
}

#[test]
fn the_csv_counts_what_happened() {
    let stack = Stack::start();
    let mut client = stack.client();
    for _ in 0..9 {
        client.get("/");
    }
    client.get("/status/500");
    // Workers' counters are summed when somebody looks.
    wait_until("ten responses are counted", || {
        let row = stack.stat("app", "BACKEND");
        row.number("hrsp_2xx") + row.number("hrsp_5xx") == 10
    });
    let (front, back) = (stack.stat("web", "FRONTEND"), stack.stat("app", "BACKEND"));
    assert_eq!((front.number("req_tot"), front.number("stot")), (10, 1), "{front:?}");
    assert_eq!((back.number("hrsp_2xx"), back.number("hrsp_5xx")), (9, 1), "{back:?}");
    assert_eq!((back.text("status"), back.number("act")), ("UP", 3), "{back:?}");
    assert!(front.number("bin") > 0 && front.number("bout") > 0, "{front:?}");
    let servers: u64 = ["s1", "s2", "s3"].iter().map(|server| stack.stat("app", server).number("stot")).sum();
    assert_eq!(servers, 10);
}

#[test]
fn a_status_has_held_since_it_began() {
    let mut stack = Stack::start();
    let since = |stack: &Stack| ["s1", "s2"].map(|server| stack.stat("app", server).number("lastchg"));
    wait_until("both have been up for a while", || since(&stack).iter().all(|seconds| *seconds >= 3));
    stack.tandemctl_ok(&["drain", "app/s1"]);
    let [drained, up] = since(&stack);
    assert!(
        drained + 2 <= up,
        "a drain begins when it is asked for: {drained} s, and the other is up for {up} s"
    );
    stack.tandemctl_ok(&["ready", "app/s1"]);
    let [ready, up] = since(&stack);
    assert!(ready + 2 <= up, "and ends when it is taken back: {ready} s, {up} s");

    // A healthd that has just started does not know how long servers have been up. lbd does.
    stack.healthd.kill();
    let before = since(&stack)[1];
    stack.healthd.start();
    let followed = || stack.metric("tandem_lbd_healthd_connected") == Some(1.0);
    wait_until("lbd follows the new healthd", followed);
    let of_new = |server: &str| {
        let verdicts = text_command(&stack.healthd.socket(), "show servers state");
        verdicts.lines().any(|line| line.starts_with(&format!("app {server} UP ")))
    };
    wait_until("it has a verdict of its own", || of_new("s2"));
    // What lbd is told next comes after that verdict.
    stack.nginx[0].stop();
    stack.wait_for_status("s1", "DOWN");
    let after = since(&stack)[1];
    assert!(after >= before, "up for {after} s, and for {before} s before");
}

#[test]
fn healthd_says_what_operators_have_taken_out_as_long_as_lbd_does() {
    let mut stack = Stack::start();
    let says = |stack: &Stack, headline: &str| {
        let admin = stack.config.healthd_admin;
        wait_until(&format!("healthd says {headline}"), || get(admin, "/").text().contains(headline));
    };
    let paused = "no server of 3 is down, 1 in drain or maint";
    says(&stack, "no server of 3 is down<");
    stack.tandemctl_ok(&["drain", "app/s1"]);
    says(&stack, paused);
    // Whatever its checks say, it is no fault.
    stack.nginx[0].stop();
    let state = || text_command(&stack.healthd.socket(), "show servers state");
    wait_until("s1 is down", || state().contains("\napp s1 DOWN "));
    assert!(
        state().lines().any(|line| line.starts_with("app s1 ") && line.contains(" drain ")),
        "{}",
        state()
    );
    says(&stack, paused);
    let documents =
        [get(stack.config.healthd_admin, "/status.json").text(), stack.tandemctl_ok(&["status", "--json"])];
    for document in documents {
        let document: Value = serde_json::from_str(&document).unwrap();
        let states: Vec<&Value> = [0, 1].map(|server| &document["verdicts"][server]["admin_state"]).into();
        assert_eq!(states, ["drain", "ready"], "{document}");
    }
    stack.healthd.kill();
    stack.healthd.start();
    says(&stack, paused);
    stack.tandemctl_ok(&["ready", "app/s1"]);
    says(&stack, "1 of 3 servers DOWN<");
    // Who does not hear of it any more forgets it.
    stack.tandemctl_ok(&["maint", "app/s1"]);
    says(&stack, paused);
    stack.lbd.kill();
    says(&stack, "1 of 3 servers DOWN<");
}

#[test]
fn tandemctl_shows_the_whole_system() {
    let mut stack = Stack::start();
    stack.nginx[2].stop();
    stack.wait_for_status("s3", "DOWN");
    let table = stack.tandemctl_ok(&["status"]);
    for (server, status) in [("s1", "UP"), ("s2", "UP"), ("s3", "DOWN")] {
        let line = table.lines().find(|line| line.contains(server)).unwrap_or_else(|| panic!("{table}"));
        assert!(line.contains(status), "{line}");
    }
    assert!(!table.contains('\u{1b}'), "no colours without a terminal: {table}");

    let json: Value = serde_json::from_str(&stack.tandemctl_ok(&["status", "--json"])).unwrap();
    let text = json.to_string();
    for word in ["lbd", "healthd", "s1", "s2", "s3", "DOWN"] {
        assert!(text.contains(word), "{word} is missing: {text}");
    }

    // With a daemon gone it shows the rest, and says so.
    stack.healthd.stop();
    let output = stack.tandemctl(&["status"]);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.contains("healthd") && text.contains("s1"), "{text}");
}

#[test]
fn tandemctl_explains_a_mistake() {
    let stack = Stack::start();
    for (args, word) in [(["drain", "app/s9"], "s1"), (["drain", "ap/s1"], "app"), (["drain", "s9"], "s1")] {
        let output = stack.tandemctl(&args);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success(), "{args:?} succeeded: {text}");
        assert!(text.contains(word), "{args:?} does not help with {word}: {text}");
    }
}

#[test]
fn the_admin_port_answers_orchestrators() {
    let mut stack = Stack::start();
    let admin = stack.config.admin;
    assert_eq!(get(admin, "/health").status, 200);
    assert_eq!(get(admin, "/ready").status, 200);
    assert_eq!(get(admin, "/nothing-here").status, 404);
    let page = get(admin, "/");
    assert!(page.text().contains("s1") && page.text().contains("UP"), "readable by curl | grep");
    for nginx in &mut stack.nginx {
        nginx.stop();
    }
    stack.wait_for_status("BACKEND", "DOWN");
    assert_eq!(get(admin, "/health").status, 200, "lbd itself lives");
}

#[test]
fn a_stopping_lbd_says_that_it_is_not_ready() {
    let mut stack = Stack::start();
    for nginx in &stack.nginx {
        nginx.file("slow", 64 << 10);
    }
    let mut client = stack.client();
    client.send("GET /slow/slow HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 200);
    stack.lbd.terminate();
    let admin = stack.config.admin;
    wait_for("not ready, or gone", || match testkit::Client::try_connect(admin, None) {
        Err(_) => Some(()),
        Ok(mut client) => {
            client.try_get("/ready").map_or(Some(()), |response| (response.status == 503).then_some(()))
        }
    });
    client.take(64 << 10).unwrap();
    assert_eq!(stack.lbd.wait().code(), Some(0));
}
