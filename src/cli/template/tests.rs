//! Tables: template and text, template and error. Each line of the first table was compared, once, with what
//! `docker inspect --format` (28.2) prints for the same document; the two differ where Go prints the address of a map.

use serde_json::{Value, json};

use super::*;

fn document() -> Value {
    json!({
        "Id": "b9ffb0800ca5",
        "Name": "/web",
        "State": {"Status": "running", "Running": true, "Pid": 4242, "ExitCode": 0},
        "Config": {"Cmd": ["httpd", "-f"], "Env": [], "Nothing": null, "Hostname": "web", "ExposedPorts": {"443/tcp": {}, "80/tcp": {}}},
        "NetworkSettings": {
            "IPAddress": "172.17.0.2",
            "Ports": {
                "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}],
                "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
            },
            "Networks": {"gp0": {"IPAddress": "172.17.0.2"}},
        },
    })
}

fn render(template: &str) -> Result<String, String> {
    let template: Template = template.parse().map_err(|error: TemplateError| error.to_string())?;
    template.render(&document()).map_err(|error| error.to_string())
}

#[test]
fn renders_as_go_does() {
    for (template, expected) in RENDERED {
        assert_eq!(render(template).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn errors_have_a_position() {
    for (template, expected) in REFUSED {
        assert_eq!(render(template), Err(format!("template: {expected}")), "{template}");
    }
}

#[test]
fn numbers_look_like_gos() {
    for (number, expected) in [
        (json!(1.5), "1.5"),
        (json!(1e21), "1e+21"),
        (json!(1e-7), "1e-07"),
        (json!(1e20), "1e+20"),
        (json!(1e5), "100000"),
        (json!(1234567.5), "1.2345675e+06"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        assert_eq!("{{.}}".parse::<Template>().unwrap().render(&number).unwrap(), expected);
    }
}

#[test]
fn maps_print_and_walk_in_the_order_of_their_keys() {
    let value = json!({"b": 2, "a": [1, null, "x"], "c": {"z": true}});
    for (template, expected) in [
        ("{{.}}", "map[a:[1 [] x] b:2 c:map[z:true]]"),
        ("{{range $k, $v := .}}{{$k}} {{end}}", "a b c "),
    ] {
        assert_eq!(template.parse::<Template>().unwrap().render(&value).unwrap(), expected);
    }
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [
        ("{{if .}}", "{{end}}"),
        ("{{range .}}", "{{end}}"),
        ("{{if .}}{{else if .}}", "{{end}}"),
    ] {
        let deep = open.repeat(10_000) + &close.repeat(10_000);
        assert!(
            deep.parse::<Template>()
                .unwrap_err()
                .message
                .contains("nested more than 64 deep")
        );
    }
    let deep = format!("{{{{{}1{}}}}}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(
        deep.parse::<Template>()
            .unwrap_err()
            .message
            .contains("nested more than 64 deep")
    );
    let allowed = format!("{{{{{}1{}}}}}", "(".repeat(60), ")".repeat(60));
    assert_eq!(render(&allowed).as_deref(), Ok("1"));
}

#[test]
fn no_prefix_of_a_template_panics() {
    for (template, _) in RENDERED.iter().chain(REFUSED) {
        for (end, _) in template.char_indices() {
            let _ = render(&template[..end]);
        }
    }
}

const RENDERED: &[(&str, &str)] = &[
    // What people paste, to the letter.
    ("{{ .NetworkSettings.IPAddress }}", "172.17.0.2"),
    ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
    (
        r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#,
        "8080",
    ),
    (
        "{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{(index $conf 0).HostPort}} {{end}}",
        " 53/udp -> 49153  80/tcp -> 8080 ",
    ),
    (
        "{{json .NetworkSettings.Ports}}",
        r#"{"53/udp":[{"HostIp":"127.0.0.1","HostPort":"49153"}],"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#,
    ),
    (
        r#"{{with index .NetworkSettings.Ports "80/tcp"}}{{(index . 0).HostIp}}{{else}}none{{end}}"#,
        "0.0.0.0",
    ),
    (
        r#"{{with index .NetworkSettings.Ports "81/tcp"}}yes{{else}}none{{end}}"#,
        "none",
    ),
    (
        "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}",
        "172.17.0.2\n",
    ),
    (r#"{{join .Config.Cmd " "}}"#, "httpd -f"),
    (r#"{{index .Config.Cmd 0}}"#, "httpd"),
    (r#"{{.Name | printf "%s|%s" .State.Status}}"#, "running|/web"),
    // Text and trimming.
    ("plain", "plain"),
    ("", ""),
    ("{{/* a comment */}}x", "x"),
    ("a {{- /* c */ -}} b", "ab"),
    ("a {{- 1 -}} b", "a1b"),
    ("a {{ 1 }} b", "a 1 b"),
    ("{{-3}}", "-3"),
    ("}} {", "}} {"),
    ("a\n{{- \"b\" }}\n c", "ab\n c"),
    // Paths and values.
    ("{{.State.Pid}} {{.State.Running}} {{.State.ExitCode}}", "4242 true 0"),
    ("{{.Config.Nothing}}", "<no value>"),
    ("{{.Config.Cmd}} {{.Config.Env}}", "[httpd -f] []"),
    ("{{.NetworkSettings.Networks}}", "map[gp0:{172.17.0.2}]"),
    (
        "{{.NetworkSettings.Ports}}",
        "map[53/udp:[{127.0.0.1 49153}] 80/tcp:[{0.0.0.0 8080} {:: 8080}]]",
    ),
    (
        "{{.Config.ExposedPorts}} {{.State}}",
        "map[443/tcp:{} 80/tcp:{}] {running true 4242 0}",
    ),
    ("{{$.Name}}{{with .State}}{{$.Name}}{{.Pid}}{{end}}", "/web/web4242"),
    (r#"{{"a\tb\"c\\\u00e9\x41"}}"#, "a\tb\"c\\éA"),
    ("{{`raw \\n`}}", "raw \\n"),
    ("{{true}} {{1}} {{0x10}} {{1.5}}", "true 1 16 1.5"),
    ("{{.NetworkSettings.Networks.bridge}}", "<no value>"),
    ("{{(.State).Pid}} {{(index .Config.Cmd 1)}}", "4242 -f"),
    // Conditions.
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    (
        "{{if .Config.Env}}a{{else if .State.ExitCode}}b{{else if .Name}}c{{else}}d{{end}}",
        "c",
    ),
    ("{{if not .Config.Nothing}}no{{end}}", "no"),
    ("{{if and .State.Running (eq .State.ExitCode 0)}}fine{{end}}", "fine"),
    (
        "{{and .Name .Config.Nothing}} {{or .Config.Nothing .Name}} {{or 0 \"\"}}.",
        "<no value> /web .",
    ),
    (r#"{{if or true (index .Config.Cmd 9)}}short{{end}}"#, "short"),
    ("{{with .Config.Nothing}}a{{else with .Name}}{{.}}{{end}}", "/web"),
    ("{{with $x := .Name}}{{$x}}{{.}}{{end}}", "/web/web"),
    // Loops.
    ("{{range .Config.Cmd}}<{{.}}>{{end}}", "<httpd><-f>"),
    (
        "{{range $i, $arg := .Config.Cmd}}{{$i}}={{$arg}} {{end}}",
        "0=httpd 1=-f ",
    ),
    ("{{range $arg := .Config.Cmd}}{{$arg}} {{end}}", "httpd -f "),
    ("{{range .Config.Env}}x{{else}}empty{{end}}", "empty"),
    ("{{range .Config.Nothing}}x{{else}}empty{{end}}", "empty"),
    (
        "{{range $p, $c := .NetworkSettings.Ports}}{{range $c}}{{$p}}={{.HostPort}};{{end}}{{end}}",
        "53/udp=49153;80/tcp=8080;80/tcp=8080;",
    ),
    // Variables.
    ("{{$x := 1}}{{$x}}{{$x = 2}}{{$x}}", "12"),
    ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
    ("{{$x := 0}}{{range .Config.Cmd}}{{$x = .}}{{end}}{{$x}}", "-f"),
    ("{{$x := 1}}{{$x := $x | printf \"%d%d\" 2}}{{$x}}", "21"),
    // Functions.
    (
        r#"{{eq .State.Status "running"}} {{ne 1 2}} {{eq 3 1 2 3}}"#,
        "true true true",
    ),
    (
        r#"{{lt 1 2}} {{le 2 2}} {{gt "b" "a"}} {{ge 1 2}}"#,
        "true true true false",
    ),
    (
        r#"{{len .Name}} {{len .Config.Cmd}} {{len .State}} {{len ""}}"#,
        "4 2 4 0",
    ),
    (r#"{{print 1 2 "a" "b" 3}} {{print nil}}"#, "1 2ab3 <nil>"),
    (r#"{{println "a" 1}}"#, "a 1\n"),
    (
        r#"{{upper "ab"}} {{lower "AB"}} {{title "hello wörld"}} {{truncate "abcdef" 3}}"#,
        "AB ab Hello Wörld abc",
    ),
    (r#"{{split "a/b/c" "/"}} {{index (split "a/b" "/") 1}}"#, "[a b c] b"),
    (
        r#"{{json "a<b>&"}} {{json .Config.Nothing}} {{json .Config.Cmd}}"#,
        r#""a<b>&" null ["httpd","-f"]"#,
    ),
    (r#"{{printf "%s-%d %v %t %q" "a" 7 "v" true "q"}}"#, r#"a-7 v true "q""#),
    (
        r#"{{printf "[%5s|%-5s|%05d|%+d|%.2s|%x|%%]" "ab" "ab" 42 7 "abc" 255}}"#,
        "[   ab|ab   |00042|+7|ab|ff|%]",
    ),
    (r#"{{printf "%.2f %T" 1.5 "x"}}"#, "1.50 string"),
    (r#"{{printf "%d %z" "a" 1}}"#, "%!d(string=a) %!z(int=1)"),
    (r#"{{printf "%s" }}{{printf "x" 1}}"#, "%!s(MISSING)x%!(EXTRA int=1)"),
    (r#"{{printf "%v %v" .Config.Nothing .Config.Cmd}}"#, "<nil> [httpd -f]"),
    (r#"{{index .NetworkSettings.Ports "80/tcp" 0 "HostPort"}}"#, "8080"),
    (r#"{{index .NetworkSettings.Ports "81/tcp"}}"#, "<no value>"),
    (
        r#"{{slice "abcdef" 1 3}} {{slice .Config.Cmd 1}} {{slice .Config.Cmd 0 1}} {{index "abc" 1}}"#,
        "bc [-f] [httpd] 98",
    ),
    (
        r#"{{html "<a&b>"}} {{js "it's <x>"}} {{urlquery "a b&c"}}"#,
        r"&lt;a&amp;b&gt; it\'s \u003Cx\u003E a+b%26c",
    ),
    (
        r#"{{pad "x" 2 3}}|{{pad "" 2 3}}|{{truncate "ab" 5}}|{{title "world-wide it's"}}"#,
        "  x   ||ab|World-Wide It'S",
    ),
    (
        "{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}{{range 0}}x{{else}}none{{end}}",
        "01201none",
    ),
    (
        r#"{{range .Config.Cmd}}{{if eq . "-f"}}{{break}}{{end}}{{.}}{{end}}"#,
        "httpd",
    ),
    (
        r#"{{range .Config.Cmd}}{{with .}}{{if eq . "httpd"}}{{continue}}{{end}}{{.}}{{end}}!{{end}}"#,
        "-f!",
    ),
    (
        "{{range 2}}{{range $.Config.Env}}{{else}}{{continue}}{{end}}x{{end}}",
        "",
    ),
    (
        "{{1.0}} {{1e3}} {{0.000001}} {{1e6}} {{1e21}} {{3.0}}",
        "1 1000 1e-06 1e+06 1e+21 3",
    ),
    (
        "{{'a'}} {{0b101}} {{0o17}} {{017}} {{1_000}} {{0x1F}} {{'\\n'}}",
        "97 5 15 15 1000 31 10",
    ),
    (r#"{{"\x41\u0041\101\t"}}"#, "AAA\t"),
    (
        r#"{{printf "%d|%5d|%-5d|%05d|%+d|% d|%x|%X|%o|%b|%c|%U|%q" 42 42 42 42 42 42 255 255 8 5 65 65 65}}"#,
        "42|   42|42   |00042|+42| 42|ff|FF|10|101|A|U+0041|'A'",
    ),
    (
        r##"{{printf "%#x|%#o|%#X|%08b|%x" 255 8 255 5 -255}}"##,
        "0xff|010|0XFF|00000101|-ff",
    ),
    (
        r#"{{printf "%f|%.2f|%8.3f|%e|%g|%E|%G|%+.1e" 1.5 1.256 3.14159 1234.5678 0.0001 1.0 1e30 12345.678}}"#,
        "1.500000|1.26|   3.142|1.234568e+03|0.0001|1.000000E+00|1E+30|+1.2e+04",
    ),
    (
        r##"{{printf "%#v|% x|%X" "abc" "abc" "abc"}}"##,
        "\"abc\"|61 62 63|616263",
    ),
    (r#"{{printf "%*d|%-*d|%[2]d %[1]d" 5 42 5 42 }}"#, "   42|42   |42 5"),
    (
        r#"{{printf "%q %d %s" .Config.Cmd .Config.Cmd .Config.Cmd}}"#,
        r#"["httpd" "-f"] [%!d(string=httpd) %!d(string=-f)] [httpd -f]"#,
    ),
    (
        r#"{{printf "%3c|%-3c|%5t|%08.3f" 65 66 true 3.14159}}"#,
        "  A|B  | true|0003.142",
    ),
    (
        r#"{{printf "%"}} {{printf "%s" nil}} {{printf "%s" true}}"#,
        "%!(NOVERB) %!s(<nil>) %!s(bool=true)",
    ),
];

const REFUSED: &[(&str, &str)] = &[
    ("{{", "1:1: unclosed action: no }}"),
    ("abc {{.Name", "1:5: unclosed action: no }}"),
    ("{{}}", "1:3: missing value for an action"),
    ("{{.Name |}}", "1:10: missing value for an action"),
    ("{{| .Name}}", "1:3: missing value for an action"),
    ("{{foo}}", "1:3: function \"foo\" is not defined"),
    ("{{if}}x{{end}}", "1:5: missing value for if"),
    ("{{if .Name}}x", "1:3: if without end"),
    ("{{range .Name}}x{{else}}y", "1:23: else without end"),
    ("x{{end}}", "1:4: end without if, range or with"),
    ("{{else}}", "1:3: else without if, range or with"),
    ("{{if 1}}{{else}}{{else}}{{end}}", "1:19: a second else"),
    ("{{end}", "1:6: unexpected '}' in an action"),
    ("{{(.Name}}", "1:9: unexpected }} in a parenthesis"),
    ("{{.Name)}}", "1:8: unexpected ) in an action"),
    ("{{$x}}", "1:3: undefined variable $x"),
    ("{{$x = 1}}", "1:3: undefined variable $x"),
    ("{{if $x := 1}}{{end}}{{$x}}", "1:24: undefined variable $x"),
    (
        "{{if true}}{{$x := 1}}{{else}}{{$x}}{{end}}",
        "1:33: undefined variable $x",
    ),
    ("{{\"abc}}", "1:3: unterminated string: no closing \""),
    ("{{`abc}}", "1:3: unterminated raw string: no `"),
    ("{{\"\\q\"}}", "1:4: unknown escape in a string"),
    ("{{/* abc}}", "1:1: unclosed comment: no */"),
    ("{{/* a */ 1}}", "1:11: a comment ends with */}}"),
    ("{{1x}}", "1:3: \"1x\" is no number"),
    ("{{.A & .B}}", "1:6: unexpected '&' in an action"),
    ("{{1 | 2}}", "1:7: what stands after | must be a function"),
    (
        "{{.Name 1}}",
        "1:9: what stands before this is no function and takes no argument",
    ),
    ("{{template \"x\"}}", "1:3: template is not supported here"),
    ("{{define \"x\"}}{{end}}", "1:3: define is not supported here"),
    ("{{break}}", "1:3: break outside range"),
    (
        "{{range .Config.Cmd}}{{end}}{{continue}}",
        "1:31: continue outside range",
    ),
    ("{{nil}}", "1:3: nil is not a command"),
    ("{{'ab'}}", "1:3: a character is one, between two '"),
    ("{{eq 1 1.0}}", "1:3: eq: a number and a float cannot be compared"),
    (
        "{{range $i, $j := 3}}{{end}}",
        "1:9: range cannot iterate over a number with two variables",
    ),
    (
        "{{slice .Config.Cmd 1 5}}",
        "1:3: slice: index 5 is out of range: there are 2",
    ),
    ("{{slice .Config.Cmd 2 1}}", "1:3: slice: it begins at 2 and ends at 1"),
    ("{{slice .State 1}}", "1:3: slice: a map cannot be sliced"),
    (
        "{{index \"abc\" 3}}",
        "1:3: index: index 3 is out of range: the string has 3",
    ),
    ("ö\n ö{{nope}}", "2:5: function \"nope\" is not defined"),
    (
        "{{.Missing}}",
        "1:3: no field Missing: there are Config, Id, Name, NetworkSettings, State",
    ),
    (
        "{{if .State.Missing}}{{end}}",
        "1:6: no field Missing: there are ExitCode, Pid, Running, Status",
    ),
    ("{{.Config.Nothing.Deeper}}", "1:3: no field Deeper in nil"),
    (
        "{{.NetworkSettings.Networks.bridge.IPAddress}}",
        "1:3: no field bridge: there are gp0",
    ),
    ("{{.Name.First}}", "1:3: no field First in a string"),
    (
        "{{index .Config.Cmd 2}}",
        "1:3: index: index 2 is out of range: the list has 2",
    ),
    (
        "{{index .Config.Cmd -1}}",
        "1:3: index: index -1 is out of range: the list has 2",
    ),
    (
        "{{index .Config.Cmd \"a\"}}",
        "1:3: index: a list cannot be indexed with a string",
    ),
    (
        r#"{{(index (index .NetworkSettings.Ports "81/tcp") 0).HostPort}}"#,
        "1:4: index: index of nil: there is nothing to look into",
    ),
    ("{{range .Name}}{{end}}", "1:9: range cannot iterate over a string"),
    ("{{eq .Name 1}}", "1:3: eq: a string and a number cannot be compared"),
    ("{{lt true false}}", "1:3: lt: a bool and a bool cannot be compared"),
    ("{{len 3}}", "1:3: len: a number has no length"),
    ("{{not}}", "1:3: not: wrong number of arguments: 0"),
    ("{{and}}", "1:3: and needs at least one argument"),
    ("{{upper 1}}", "1:3: upper: a number is no string"),
];
