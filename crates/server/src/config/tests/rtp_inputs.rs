//! The `[[rtp_input]]` tables of the file.

use whipstitch_media::Codec;

use super::*;

fn sdp(video: u16, audio: u16) -> String {
    format!(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=video {video} RTP/AVP 96\na=rtpmap:96 VP8/90000\n\
         m=audio {audio} RTP/AVP 8\n"
    )
}

/// A table with these lines after the name.
fn table(lines: &str) -> String {
    format!("[[rtp_input]]\nstream = 'cam'\n{lines}\n")
}

fn described(video: u16, audio: u16) -> String {
    format!("sdp = '''{}'''", sdp(video, audio))
}

fn loaded(file: &str) -> Result<Config, Vec<String>> {
    let mut config = resolved(&[], &[], file)?;
    let result = config.load();
    result.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect()).map(|()| config)
}

#[test]
fn a_table_says_what_comes_and_where() {
    let other = format!("[[rtp_input]]\nstream = 'other'\nlisten = '::'\nsdp = \"\"\"\n{}\"\"\"\n", sdp(0, 9));
    let config = loaded(&(table(&described(5004, 5006)) + &other)).unwrap();
    let [cam, other] = &config.rtp_inputs[..] else { panic!("{config:?}") };
    let wanted = cam.wanted().unwrap();
    assert_eq!((wanted.stream.as_str(), wanted.local), ("cam", IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let sections: Vec<_> = wanted.sections.iter().map(|section| (section.codec, section.pt, section.port)).collect();
    assert_eq!(sections, [(Codec::Vp8, 96, 5004), (Codec::Pcma, 8, 5006)]);
    assert_eq!(cam.fixed_ports(), [5006, 5007, 5004, 5005]);
    assert_eq!((other.listen, other.fixed_ports()), ("::".parse().unwrap(), Vec::new()));
}

#[test]
fn a_description_may_be_a_file_beside_that_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cam.sdp"), sdp(5004, 5006)).unwrap();
    std::fs::write(folder.path().join("bad.sdp"), "v=1").unwrap();
    let path = folder.path().join("w.toml");
    let load = |name: &str| {
        let text = table(&format!("sdp_file = '{name}'"));
        let (_, arguments) = cli::parse(["serve"]).unwrap();
        let mut config = resolve(&arguments, &Environment::new(), Some(File { path: &path, text: &text })).unwrap();
        assert!(config.rtp_inputs[0].wanted().is_none(), "nothing is read yet");
        let loaded = config.load();
        loaded.map(|()| config).map_err(|mistakes| mistakes[0].to_string())
    };
    assert_eq!(load("cam.sdp").unwrap().rtp_inputs[0].wanted().unwrap().sections.len(), 2);
    assert_eq!(load(folder.path().join("cam.sdp").to_str().unwrap()).unwrap().rtp_inputs.len(), 1);
    for (name, words) in [("none.sdp", "No such file"), ("bad.sdp", "v=0")] {
        let mistake = load(name).unwrap_err();
        assert!(mistake.starts_with("rtp_input of cam: ") && mistake.contains(words), "{mistake}");
    }
}

#[test]
fn what_cannot_be_meant_is_told_with_its_line() {
    let good = described(0, 0);
    for (lines, place, words) in [
        (String::new(), 1, "rtp_input: sdp or sdp_file is missing"),
        (format!("{good}\nsdp_file = 'x'"), 11, "rtp_input.sdp_file: there is an sdp already"),
        ("sdp = 'x'".to_owned(), 3, "rtp_input.sdp: the SDP does not begin"),
        ("sdp = 3".to_owned(), 3, "rtp_input.sdp: wants a text in quotes"),
        (described(5005, 5006), 3, "a port of RTP is odd"),
        (described(5004, 5004), 3, "audio and video have the same port, 5004"),
        (described(5004, 0), 3, "one section has a port and the other has none"),
        (format!("{good}\nlisten = 'here'"), 11, "rtp_input.listen: \"here\" is no IP address"),
        (format!("{good}\nport = 5004"), 11, "rtp_input.port: no such key"),
        (format!("{good}\n[[rtp_input]]\nstream = 'cam'\n{good}"), 12, "rtp_input.stream: cam has an earlier table"),
    ] {
        let mistakes = loaded(&table(&lines)).unwrap_err();
        let place = format!("w.toml:{place}: ");
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(&place) && mistakes[0].contains(words), "{mistakes:?}");
    }
    let twice = table(&format!("sdp = 3\n[[rtp_input]]\nstream = 'cam'\n{good}"));
    let mistakes = loaded(&format!("stream_names = ['x-*']\n{twice}")).unwrap_err();
    let words = ["rtp_input.sdp: wants a text", "cam has an earlier table", "no pattern", "no pattern"];
    assert_eq!(mistakes.len(), words.len(), "{mistakes:#?}");
    assert!(mistakes.iter().zip(words).all(|(mistake, words)| mistake.contains(words)), "{mistakes:#?}");
    let mistakes = loaded("[[rtp_input]]\nstream = 'a b'\n").unwrap_err();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert_eq!(loaded("rtp_input = 3").unwrap_err(), ["w.toml:1: rtp_input: wants [[rtp_input]] tables"]);
}

#[test]
fn the_example_file_shows_a_table_that_works() {
    let text = include_str!("../../../../../whipstitch.example.toml");
    let (_, tables) = text.split_once("#[[rtp_input]]\n").unwrap();
    let fields: String =
        tables.lines().map_while(|line| line.strip_prefix('#')).map(|line| format!("{line}\n")).collect();
    let config = resolved(&[], &[], &format!("[[rtp_input]]\n{fields}")).unwrap();
    let [input] = &config.rtp_inputs[..] else { panic!("{config:?}") };
    assert_eq!((input.stream.as_str(), &input.sdp), ("cam-roof", &Sdp::File("cam-roof.sdp".into())));
}

/// Who takes every `#` away has a configuration that works.
#[test]
fn the_lines_of_the_example_file_fit_each_other() {
    let text = include_str!("../../../../../whipstitch.example.toml");
    // Words have one blank before them.
    let is_setting = |line: &&str| line.starts_with("  ") || !line.starts_with(' ');
    let settings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('#')).filter(is_setting).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cam-roof.sdp"), sdp(0, 0)).unwrap();
    let (_, arguments) = cli::parse(["serve"]).unwrap();
    let file = File { path: &folder.path().join("w.toml"), text: &settings.join("\n") };
    let mut config = resolve(&arguments, &Environment::new(), Some(file)).unwrap();
    assert_eq!(config.load(), Ok(()));
    assert_eq!((config.rtp_inputs.len(), config.tokens.len(), config.stream_names.len()), (1, 2, 2));
}

#[test]
fn what_cannot_be_together_is_told() {
    let (fixed, leased) = (table(&described(5004, 5006)), table(&described(0, 0)));
    let other = fixed.replace("'cam'", "'other'").replace("5006", "5008");
    for (file, words) in [
        (format!("{fixed}{other}"), "rtp_input of other: UDP port 5004 is taken"),
        (format!("rtc = '0.0.0.0:5005'\n{fixed}"), "rtp_input of cam: UDP port 5005 is taken"),
        (format!("rtp_ports = 'off'\n{leased}"), "rtp_ports is off"),
        (format!("stream_names = ['x-*']\n{leased}"), "no pattern of stream_names has the name of its stream cam"),
    ] {
        let mistakes = loaded(&file).unwrap_err();
        assert!(mistakes.len() == 1 && mistakes[0].contains(words), "{mistakes:?}");
    }
    assert!(loaded(&format!("rtp_ports = 'off'\nstream_names = ['c*']\n{fixed}")).is_ok());
}
