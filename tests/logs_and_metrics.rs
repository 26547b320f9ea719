//! What is recorded: the access log, events, and metrics, each judged by the tool that people read them with.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;
use testkit::{Process, Stack, get, needs, wait_for, wait_until};

/// halog expects the five fields that syslog puts before a line: have it start with the line's own first.
const SKIP: &str = "-4";

/// Runs a referee over some text, and returns what it says, if it is content.
fn referee(program: &str, args: &[&str], text: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is not installed: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = text.to_owned();
    // From a thread: a referee may answer before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    let told = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() {
        Ok(told(output.stdout))
    } else {
        Err(told(output.stdout) + &told(output.stderr))
    }
}

/// Waits until the access log has that many lines, which are written in batches.
fn access_log(stack: &Stack, lines: usize) -> String {
    wait_for(&format!("{lines} lines of access log"), || {
        let log = stack.lbd.stdout();
        (log.lines().count() >= lines).then_some(log)
    })
}

#[test]
fn halog_reads_the_access_log() {
    needs!("halog");
    let stack = Stack::start();
    let mut client = stack.client();
    for _ in 0..6 {
        client.get("/");
    }
    client.get("/status/500");
    client.get("/status/204");
    let log = access_log(&stack, 8);
    assert_eq!(log.lines().count(), 8, "{log}");

    let by_status = referee("halog", &["-s", SKIP, "-st"], &log).unwrap();
    for (status, count) in [("200", "6"), ("204", "1"), ("500", "1")] {
        let line = by_status.lines().find(|line| line.starts_with(status));
        assert!(line.is_some_and(|line| line.contains(count)), "{status}: {by_status}");
    }
    let by_server = referee("halog", &["-s", SKIP, "-srv"], &log).unwrap();
    for server in ["app/s1", "app/s2", "app/s3"] {
        assert!(by_server.contains(server), "{by_server}");
    }
    let by_url = referee("halog", &["-s", SKIP, "-u"], &log).unwrap();
    assert!(by_url.contains("/status/500"), "{by_url}");
}

#[test]
fn a_line_of_the_access_log_has_haproxys_fields() {
    let stack = Stack::builder().servers(1).start();
    let mut client = stack.client();
    client.get("/some?query");
    let log = access_log(&stack, 1);
    let line = log.lines().next().unwrap();
    // client:port [date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - tsc a/f/b/s/r sq/bq "request"
    let words: Vec<_> = line.splitn(12, ' ').collect();
    assert_eq!(words[0], client.local_address().to_string(), "{line}");
    assert!(
        words[1].starts_with('[') && words[1].ends_with(']') && words[1].matches(':').count() == 3,
        "{line}"
    );
    assert_eq!((words[2], words[3]), ("web", "app/s1"), "{line}");
    let times: Vec<i64> = words[4].split('/').map(|time| time.parse().unwrap()).collect();
    assert!(times.len() == 5 && times.iter().all(|&time| time >= 0), "{line}");
    assert_eq!((words[5], &words[7..10]), ("200", ["-", "-", "----"].as_slice()), "{line}");
    assert!(words[6].parse::<u64>().unwrap() > 0, "{line}");
    assert_eq!(words[10].split('/').count(), 5, "{line}");
    assert_eq!(words[11], "0/0 \"GET /some?query HTTP/1.1\"", "{line}");
}

#[test]
fn what_went_wrong_is_in_the_access_log() {
    needs!("halog");
    let stack = Stack::builder()
        .servers(0)
        .unchecked()
        .config(|config, addresses| config.server("nobody", addresses.socket(100, 7081)))
        .start();
    stack.get("/");
    let mut client = stack.client();
    client.send("BAD\r\n\r\n");
    assert_eq!(client.response().status, 400);
    let log = access_log(&stack, 2);
    let line =
        |status: &str| log.lines().find(|line| line.contains(status)).unwrap_or_else(|| panic!("{log}"));
    assert!(line(" 503 ").contains(" SC-- "), "{log}");
    let refused = line(" 400 ");
    assert!(refused.contains("/<NOSRV> ") && refused.contains(" PR-- "), "{log}");
    let by_termination = referee("halog", &["-s", SKIP, "-tc"], &log).unwrap();
    assert!(by_termination.contains("SC") && by_termination.contains("PR"), "{by_termination}");
}

/// The times, the status, the termination and the request of the one line of the log that has `name` in it.
fn logged(stack: &Stack, name: &str) -> (Vec<i64>, String, String, String) {
    let line = wait_for(&format!("a line with {name}"), || {
        stack.lbd.stdout().lines().find(|line| line.contains(name)).map(str::to_owned)
    });
    let words: Vec<_> = line.splitn(12, ' ').collect();
    let times = words[4].split('/').map(|time| time.parse().unwrap()).collect();
    let request = words[11].split_once('"').unwrap().1.trim_end_matches('"').to_owned();
    (times, words[5].to_owned(), words[9].to_owned(), request)
}

/// As HAProxy 2.6 logs the same, but for what `docs/configuration.md` says.
#[test]
fn the_log_tells_what_became_of_an_upload_that_was_answered_early() {
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        peer.stall()
    });
    let early = |name: &str| {
        let mut client = stack.client();
        client.send(format!("POST /{name} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\npart"));
        assert_eq!(client.response().status, 200);
        client
    };
    drop(early("aborted"));
    early("complete").send(vec![b'x'; 99_996]);
    for (name, termination) in [("complete", "----"), ("aborted", "CD--")] {
        let (times, status, ended, _) = logged(&stack, name);
        assert_eq!((status.as_str(), ended.as_str()), ("200", termination), "{name}");
        assert!(times.iter().all(|time| *time >= 0), "{name}: {times:?}");
    }
}

#[test]
fn a_request_without_a_response_has_no_status() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.stall()
    });
    let mut client = stack.client();
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\npart");
    let waiting = stack.client();
    waiting.sender().send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the server has both", || server.requests().len() == 2);
    drop(client);
    socket2::SockRef::from(&waiting.into_stream()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    for (name, termination) in [("/upload", "CD--"), ("/wait", "CH--")] {
        let (times, status, ended, _) = logged(&stack, name);
        assert_eq!((status.as_str(), ended.as_str(), times[3]), ("-1", termination, -1), "{name}");
    }
}

#[test]
fn a_refused_head_is_logged_as_it_came() {
    let stack = Stack::builder().servers(1).start();
    let mut client = stack.client();
    client.send("NO \"HTTP\" at all\r\n\r\n");
    assert_eq!(client.response().status, 400);
    let (times, status, ended, request) = logged(&stack, "at all");
    assert_eq!((status.as_str(), ended.as_str(), request.as_str()), ("400", "PR--", "NO #22HTTP#22 at all"));
    assert_eq!(times[..4], [-1; 4]);
}

#[test]
fn what_a_client_sends_cannot_forge_a_log_line() {
    let stack = Stack::builder().servers(1).frontend("access_log: json").start();
    let mut client = stack.client();
    client.send("GET /\"},{\"status\":1 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.response();
    let mut client = stack.client();
    client.send("\u{1b}[31mGET / \u{0}\"\r\n\r\n");
    client.response();
    for line in access_log(&stack, 2).lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_ne!(entry["status"], 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn the_json_access_log_parses() {
    let stack = Stack::builder().servers(1).frontend("access_log: json").start();
    let mut client = stack.client();
    client.get("/one");
    client.get("/status/500");
    let log = access_log(&stack, 2);
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&entries[0]["status"], &entries[1]["status"]), (&200.into(), &500.into()), "{log}");
    for entry in &entries {
        let text = entry.to_string();
        for word in ["web", "app", "s1", "127.0.0.1"] {
            assert!(text.contains(word), "{word} is missing: {text}");
        }
    }
}

#[test]
fn the_access_log_can_be_off() {
    let stack = Stack::builder().servers(1).frontend("access_log: off").start();
    stack.get("/");
    wait_until("it is counted", || stack.stat("app", "s1").number("stot") == 1);
    let mut stack = stack;
    assert_eq!(stack.lbd.stop().code(), Some(0));
    assert_eq!(stack.lbd.stdout(), "");
}

#[test]
fn events_can_be_json() {
    let mut stack = Stack::builder().without_healthd().without_lbd().start();
    stack.healthd.args(&["--log-format", "json"]);
    stack.lbd.args(&["--log-format", "json"]);
    stack.healthd.start();
    stack.lbd.start();
    stack.wait_for_status("s1", "UP");
    stack.nginx[0].stop();
    stack.wait_for_status("s1", "DOWN");
    for daemon in [&stack.healthd, &stack.lbd] {
        let log = daemon.stderr();
        assert!(log.lines().count() > 0);
        for line in log.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
    }
}

#[test]
fn promtool_accepts_the_metrics_of_both_daemons() {
    needs!("promtool");
    let mut stack = Stack::start();
    testkit::Load::default().run(stack.web(), 30).assert_nothing_lost();
    stack.nginx[0].stop();
    stack.wait_for_status("s1", "DOWN");
    for (daemon, address) in [("lbd", stack.config.admin), ("healthd", stack.config.healthd_admin)] {
        let metrics = get(address, "/metrics").text();
        referee("promtool", &["check", "metrics"], &metrics)
            .unwrap_or_else(|complaint| panic!("promtool on {daemon}: {complaint}\n{metrics}"));
        let names = metrics.lines().filter(|line| !line.starts_with('#'));
        for name in names {
            assert!(name.starts_with("tandem_") || name.starts_with("process_"), "{daemon}: {name}");
        }
    }
    let metrics = get(stack.config.admin, "/metrics").text();
    assert!(metrics.contains("_bucket{"), "latency histograms: {metrics}");
}

/// A real Prometheus that scrapes both daemons of a stack every second, and looks at the alerts that are installed.
struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(stack: &Stack) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../compose/alerts.yml");
        std::fs::write(
            &config,
            format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{alerts}']\nscrape_configs:\n\
                 - job_name: lbd\n  static_configs: [{{ targets: ['{}'] }}]\n\
                 - job_name: healthd\n  static_configs: [{{ targets: ['{}'] }}]\n",
                stack.config.admin, stack.config.healthd_admin
            ),
        )
        .unwrap();
        let address = stack.addresses.socket(1, 7090);
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("prometheus", command, dir.path());
        let prometheus = Self { address, _process: process, _dir: dir };
        wait_until("both daemons are scraped", || prometheus.query("up == 1").len() == 2);
        prometheus
    }

    /// The series that an expression gives; none while it cannot be asked.
    fn query(&self, expression: &str) -> Vec<Value> {
        let answer = || -> Option<Value> {
            let mut client = testkit::Client::try_connect(self.address, None).ok()?;
            let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let response = client.try_get(&format!("/api/v1/query?query={encoded}")).ok()?;
            serde_json::from_slice(&response.body).ok()
        };
        let series = answer().and_then(|answer| answer["data"]["result"].as_array().cloned());
        series.unwrap_or_default()
    }

    /// The servers of the series that an expression gives.
    fn servers(&self, expression: &str) -> Vec<String> {
        let series = self.query(expression);
        let mut servers: Vec<String> = series
            .iter()
            .filter_map(|series| Some(series["metric"]["server"].as_str()?.to_owned()))
            .collect();
        servers.sort();
        servers
    }
}

#[test]
fn a_real_prometheus_scrapes_both_daemons_and_answers() {
    needs!("prometheus");
    let mut stack = Stack::start();
    let prometheus = Prometheus::start(&stack);
    testkit::Load::default().run(stack.web(), 100).assert_nothing_lost();
    wait_until("the requests are in Prometheus", || {
        let sum = prometheus.query("sum(tandem_frontend_http_requests_total)");
        sum.first().is_some_and(|sum| sum["value"][1] == "100")
    });
    stack.nginx[0].stop();
    let down = || prometheus.servers("tandem_server_status{state=\"DOWN\"} == 1");
    wait_until("Prometheus knows of the dead server", || down() == ["s1"]);
}

#[test]
fn an_alert_tells_of_faults_and_not_of_what_operators_have_taken_out() {
    needs!("prometheus");
    let mut stack = Stack::start();
    let prometheus = Prometheus::start(&stack);
    let firing = |alert: &str| format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
    let told = || prometheus.servers(&firing("ServerDown"));

    stack.tandemctl_ok(&["maint", "app/s1"]);
    stack.tandemctl_ok(&["drain", "app/s2"]);
    for server in &mut stack.nginx[..2] {
        server.stop();
    }
    let failing = || prometheus.servers("tandem_health_server_status{state=\"down\"} == 1");
    wait_until("Prometheus knows that their checks fail", || failing() == ["s1", "s2"]);
    stack.nginx[2].stop();
    wait_until("an alert of the server that should serve", || !told().is_empty());
    assert_eq!(told(), ["s3"]);
    wait_until("an alert of the backend", || prometheus.query(&firing("BackendDown")).len() == 1);

    stack.tandemctl_ok(&["ready", "app/s1"]);
    wait_until("an alert of a server that is wanted again", || told() == ["s1", "s3"]);
}
