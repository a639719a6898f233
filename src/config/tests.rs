//! Tests of the configuration: what an example says, what each mistake is answered.

use std::{io, path::Path, time::Duration};

use super::{Config, ConfigError, Flags, Problem, SourceConfig, Surroundings};
use crate::model::{Isolation, PoolChoice, PoolSelector, RoutingNumbers, SfMatch};

type Vars = [(&'static str, &'static str)];

fn load(text: &str, flags: &Flags, vars: &Vars) -> Result<Config, ConfigError> {
    let variable = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    let around = Surroundings { variable: &variable, hostname: &|| Ok("DPU-7".into()) };
    Config::from_text(Path::new("c.yaml"), text, flags, &around)
}

fn good(text: &str) -> Config {
    load(text, &Flags::default(), &[]).unwrap_or_else(|e| panic!("{e}"))
}

fn problems(text: &str) -> Vec<Problem> {
    match load(text, &Flags::default(), &[]) {
        Err(ConfigError::Invalid(problems)) => problems,
        other => panic!("expected problems, got {other:?}"),
    }
}

fn lines(text: &str) -> Vec<String> {
    problems(text).iter().map(ToString::to_string).collect()
}

/// The example of the documentation.
const FULL: &str = r#"
node: dpu-1
source:
  files: {path: [/etc/a, /etc/b]}
interfaces:
  - name: producer
    match: {pci: "0000:03:00.0", sfnum: 10}
    serviceInterface: {serviceID: producer, interfaceName: app-iface}
  - name: consumer
    match: {netdev: enp3s0f0s11}
    pool:
      - {matchLabels: {svc.dpu.nvidia.com/pool: pool1}}
      - {name: pool6}
    index: 3
    isolation: source
quarantine: 90s
resync: 2m
routing: {metric: 3000}
nvIpamStore: none
"#;

#[test]
fn every_field_reaches_the_checked_configuration() {
    let config = good(FULL);
    assert_eq!(config.node.as_str(), "dpu-1");
    assert_eq!(config.source, SourceConfig::Files { paths: vec!["/etc/a".into(), "/etc/b".into()] });
    let [producer, consumer] = &config.bindings[..] else { panic!("{:?}", config.bindings) };
    assert_eq!(
        producer.sf,
        SfMatch { pci: "0000:03:00.0".parse().ok(), sfnum: Some(10), ..SfMatch::default() }
    );
    assert!(matches!(&producer.pool, PoolChoice::ServiceInterface { service_id, interface_name }
        if service_id == "producer" && interface_name == "app-iface"));
    assert_eq!((producer.index, producer.isolation), (None, Isolation::Auto));
    let PoolChoice::Pools(pools) = &consumer.pool else { panic!("{:?}", consumer.pool) };
    assert!(
        matches!(&pools[..], [PoolSelector::Labels(l), PoolSelector::Name(n)] if l.len() == 1 && n == "pool6")
    );
    assert_eq!((consumer.index, consumer.isolation), (Some(3), Isolation::Source));
    assert_eq!(config.quarantine, Duration::from_secs(90));
    assert_eq!(config.resync, Duration::from_secs(120));
    assert_eq!(config.numbers, RoutingNumbers { metric: 3000, ..RoutingNumbers::default() });
    assert_eq!(config.nv_ipam_store, None);
}

#[test]
fn printed_default_says_what_an_empty_file_says() {
    assert_eq!(good(Config::default_yaml()), good(""));
    assert_eq!(good("").node.as_str(), "dpu-7", "the host name in lower case");
    // The example in the comments is one that works.
    let example: String = Config::default_yaml()
        .replace("interfaces: []", "interfaces:")
        .lines()
        .skip_while(|l| !l.starts_with("interfaces:"))
        .take_while(|l| !l.is_empty())
        .map(|l| format!("{}\n", l.strip_prefix("# ").unwrap_or(l)))
        .filter(|l| !l.contains("pool: {"))
        .collect();
    assert_eq!(good(&example).bindings.len(), 1, "{example}");
}

#[test]
fn fields_left_empty_are_fields_left_out() {
    assert_eq!(good("interfaces:\nsource:\nrouting: {}\nnode:\n"), good(""));
}

#[test]
fn effective_configuration_reads_back_as_itself() {
    for text in [FULL, ""] {
        let config = good(text);
        assert_eq!(good(&config.to_yaml()), config, "{}", config.to_yaml());
    }
}

#[test]
fn flag_beats_variable_beats_file_beats_default() {
    let file = "node: from-file\nstateDir: /file\n";
    let vars: &Vars = &[("DPU_IPAM_NODE", "from-env"), ("STATE_DIRECTORY", "/systemd:/other")];
    let flags = Flags { node: Some("from-flag".into()), state_dir: Some("/flag".into()), ..Flags::default() };
    let load = |flags: &Flags, vars| load(file, flags, vars).unwrap_or_else(|e| panic!("{e}"));
    let of = |c: &Config| (c.node.to_string(), c.state_dir.display().to_string());
    assert_eq!(of(&load(&flags, vars)), ("from-flag".into(), "/flag".into()));
    assert_eq!(of(&load(&Flags::default(), vars)), ("from-env".into(), "/systemd".into()));
    assert_eq!(of(&load(&Flags::default(), &[])), ("from-file".into(), "/file".into()));
    assert_eq!(good("").state_dir, Path::new("/var/lib/dpu-ipam"));
    let ours: &Vars = &[("DPU_IPAM_STATE_DIR", "/ours"), ("STATE_DIRECTORY", "/systemd")];
    assert_eq!(load(&Flags::default(), ours).state_dir, Path::new("/ours"));
}

#[test]
fn problems_of_form_carry_line_path_and_nearest_name() {
    for (text, expected) in [
        (
            "interfaces:\n  - name: a\n    match:\n      sfnumm: 3\n    pool: {name: p}\n",
            "c.yaml:4: interfaces[0].match.sfnumm: unknown field `sfnumm`, did you mean `sfnum`?",
        ),
        (
            "routing:\n  tablebase: 3\n",
            "c.yaml:2: routing.tablebase: unknown field `tablebase`, did you mean `tableBase`?",
        ),
        (
            "qwertz: 1\n",
            "c.yaml:1: qwertz: unknown field `qwertz`; known are node, source, interfaces, stateDir, runtimeDir, quarantine, resync, routing, nvIpamStore",
        ),
        (
            "interfaces:\n  - name: a\n    match: {sfnum: 1}\n    pool:\n      - {nam: p}\n",
            "c.yaml:5: interfaces[0].pool[0].nam: unknown field `nam`, did you mean `name`?",
        ),
        ("interfaces:\n  - match: {sfnum: 1}\n", "c.yaml:2: interfaces[0]: `name` is missing"),
        ("source:\n  files:\n    {}\n", "c.yaml:3: source.files: `path` is missing"),
        (
            "interfaces:\n  - name: a\n    match: {sfnum: 1}\n    serviceInterface:\n      serviceID: s\n",
            "c.yaml:5: interfaces[0].serviceInterface: `interfaceName` is missing",
        ),
    ] {
        assert_eq!(lines(text), [expected], "{text}");
    }
    assert_eq!(lines("node: a\nnode: b\n"), ["c.yaml:2: `node` is there twice"]);
    for (text, line) in
        [("node: [\n", 1), ("a: b: c\n", 1), ("interfaces:\n  - name: a\n    match: {sfnum: ten}\n", 3)]
    {
        let problems = problems(text);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, Some(line), "{}", problems[0]);
        assert!(!problems[0].message.contains('\n'), "one line each: {}", problems[0]);
    }
}

#[test]
fn all_problems_of_meaning_come_at_once_with_their_lines() {
    let text = r"source:
  kubernetes: {kubeconfig: /k}
interfaces:
  - name: Bad_Name
    match: {}
  - name: twice
    match: {netdev: a-name-of-16-byte}
    pool: {name: p}
  - name: a
    match: {sfnum: 3, pci: nonsense}
    pool: {name: p, matchLabels: {a: b}}
    serviceInterface: {serviceID: s, interfaceName: i}
  - name: same
    match: {sfnum: 4}
    pool: [{name: p, matchLabels: {a: b}}, {}, {matchLabels: {}}]
    isolation: vrf
    netns: other
  - name: first
    match: {sfnum: 5}
    pool: {name: p}
  - name: first
    match: {sfnum: 5}
    pool: [{name: p}, {name: p}]
  - name: pf
    match: {pci: '0000:03:00.0'}
    pool: {name: p}
stateDir: relative
quarantine: soon
resync: 10ms
routing:
  protocol: 186
  metric: 10000
  tableBase: 60
  rulePriority: 32000
";
    let lines = lines(text);
    let expected = [
        "c.yaml:2: source.kubernetes: not available",
        "c.yaml:4: interfaces[0].name: \"Bad_Name\" is not",
        "c.yaml:4: interfaces[0]: has neither",
        "c.yaml:5: interfaces[0].match: is empty",
        "c.yaml:7: interfaces[1].match.netdev: \"a-name-of-16-byte\" is not an interface name (1 to 15 bytes",
        "c.yaml:9: interfaces[2]: has both `serviceInterface` and `pool`",
        "c.yaml:10: interfaces[2].match.pci: ",
        "c.yaml:15: interfaces[3].pool[0]: has both `name` and `matchLabels`",
        "c.yaml:15: interfaces[3].pool[1]: has neither",
        "c.yaml:15: interfaces[3].pool[2].matchLabels: is empty",
        "c.yaml:16: interfaces[3].isolation: `vrf` is not supported yet",
        "c.yaml:17: interfaces[3].netns: other network namespaces are not supported yet",
        "c.yaml:21: interfaces[5].name: first is there twice",
        "c.yaml:22: interfaces[5].match: matches the same SF as first: sfnum 5",
        "c.yaml:23: interfaces[5].pool[1]: name p is there twice",
        "c.yaml:25: interfaces[6].match: a PCI function has many SFs",
        "c.yaml:27: stateDir: \"relative\" is not an absolute path",
        "c.yaml:28: quarantine: \"soon\" is not a duration",
        "c.yaml:29: resync: is shorter than 1s",
        "c.yaml:31: routing.protocol: 186 belongs to BGP",
        "c.yaml:32: routing.metric: 10000 is DPF's",
        "c.yaml:33: routing.tableBase: ",
        "c.yaml:34: routing.rulePriority: 32000 is DPF's",
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nshould start with\n{expected}");
    }
    assert_eq!(lines.len(), expected.len(), "{}", lines.join("\n"));
}

#[test]
fn numbers_of_others_are_refused() {
    for field in ["protocol: 4", "protocol: 16", "metric: 0", "tableBase: 254", "tableBase: 4294967295"] {
        assert_eq!(problems(&format!("routing: {{{field}}}\n")).len(), 1, "{field}");
    }
    for field in ["rulePriority: 0", "rulePriority: 31000", "rulePriority: 32766"] {
        assert_eq!(problems(&format!("routing: {{{field}}}\n")).len(), 1, "{field}");
    }
}

#[test]
fn flags_and_variables_are_named_when_they_are_wrong() {
    let flags = Flags { node: Some("NOT A NODE".into()), ..Flags::default() };
    let error = load("", &flags, &[("RUNTIME_DIRECTORY", "run")]).expect_err("two problems").to_string();
    assert!(error.contains("--node: \"NOT A NODE\" is not a node name"), "{error}");
    assert!(error.contains("RUNTIME_DIRECTORY: \"run\" is not an absolute path"), "{error}");
}

#[test]
fn only_the_default_file_may_be_missing() {
    let around = Surroundings { variable: &|_| None, hostname: &|| Err(io::Error::other("none")) };
    let flags =
        Flags { config: Some("/nonexistent/c.yaml".into()), node: Some("n".into()), ..Flags::default() };
    let error = Config::load(&flags, &around).expect_err("missing").to_string();
    assert!(error.contains("/nonexistent/c.yaml"), "{error}");
    let error = Config::from_text(Path::new("c.yaml"), "", &Flags::default(), &around).expect_err("no name");
    assert!(error.to_string().contains("node: not given, and the host name cannot be read"), "{error}");
}

#[test]
fn durations() {
    for (text, millis) in
        [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)]
    {
        let duration = super::duration::parse(text);
        assert_eq!(duration, Some(Duration::from_millis(millis)), "{text}");
        assert_eq!(duration.map(super::duration::format).as_deref(), Some(text));
    }
    for text in ["", "5", "m", "5 m", "-5s", "5w", "1.5s", "99999999999999999999d", "18446744073709551615d"] {
        assert_eq!(super::duration::parse(text), None, "{text}");
    }
    assert_eq!(super::duration::format(Duration::ZERO), "0s");
}
