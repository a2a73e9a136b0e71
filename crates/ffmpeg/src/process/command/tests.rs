use super::*;
use crate::process::{Legs, Order};

/// Streams that are there, over RTSP and over RTP; `refused` is not.
struct Streams {
    waiting: watch::Receiver<bool>,
}

impl Wiring for Streams {
    fn read(&self, process: &str, stream: &str, transport: Transport) -> Result<Leg, String> {
        if stream == "refused" {
            return Err("needs --rtsp".to_owned());
        }
        let options = ["-rtsp_transport", "tcp"].map(str::to_owned).into();
        let url = format!("{transport:?}://{process}:secret@h/{stream}");
        let waiting = Some(self.waiting.clone());
        Ok(Leg { url, options, secrets: vec!["secret".to_owned()], waiting, kept: Box::new(()) })
    }

    fn write(&self, _: &str, stream: &str, transport: Transport) -> Result<Leg, String> {
        let options = ["-f", "rtsp", "-timeout", "a:b"].map(str::to_owned).into();
        let url = format!("{transport:?}://h/{stream}");
        Ok(Leg { url, options, secrets: Vec::new(), waiting: None, kept: Box::new(()) })
    }

    fn ordered(&self, _: &str, _: &Legs, _: Order) {}
    fn renamed(&self, _: &str, _: &str) {}
    fn begins(&self, _: &str) {}
    fn rests(&self, _: &str) {}
}

fn composed(json: &str) -> Result<Command, String> {
    let definition = Definition::read(json.as_bytes()).unwrap();
    let of = |process: &str, output: &str| (process == "other" && output == "hls").then(|| "/srv/o.m3u8".to_owned());
    let expanded = expand(&definition, Path::new("/srv/p"), &of).map_err(|wrong| wrong[0].to_string())?;
    compose(&definition, &expanded, &Streams { waiting: watch::channel(true).1 })
}

fn args(json: &str) -> String {
    composed(json).unwrap().args.join(" ")
}

#[test]
fn the_command_is_options_then_inputs_then_outputs() {
    let json = r##"{"id": "p", "options": ["-y"],
        "input": [{"id": "a", "address": "in {id}; rm -rf /", "options": ["-re"]}, {"id": "b", "address": "#other:output=hls"}],
        "output": [{"id": "o", "address": "{data}/$(id).mp4", "options": ["-c", "copy", "-metadata", "title={outputid}"]}]}"##;
    assert_eq!(
        composed(json).unwrap().args,
        [
            "-y",
            "-re",
            "-i",
            "in p; rm -rf /",
            "-i",
            "/srv/o.m3u8",
            "-c",
            "copy",
            "-metadata",
            "title=o",
            "/srv/p/$(id).mp4"
        ]
    );
}

#[tokio::test]
async fn the_published_stream_is_the_first_input_and_the_viewers_the_last_output() {
    let json = r#"{"id": "p", "whip_ingest": {}, "whep_egress": {"transport": "rtp"},
        "input": [{"address": "{whip:cam}", "options": ["-an"]}], "output": [{"address": "-", "options": ["-f", "null"]}]}"#;
    assert_eq!(
        args(json),
        "-rtsp_transport tcp -i Rtsp://p:secret@h/p -an -rtsp_transport tcp -i Rtsp://p:secret@h/cam -f null - \
         -c:v libx264 -preset veryfast -tune zerolatency -bf 0 -pix_fmt yuv420p -g 60 -force_key_frames expr:gte(t,n_forced*2) \
         -c:a libopus -b:a 96k -ar 48000 -ac 2 -map 0:v:0? -map 1:a:0? -f rtsp -timeout a:b Rtp://h/p-out"
    );
    let mapped = json.replace(r#"{"transport": "rtp"}"#, r#"{"transport": "rtp", "options": ["-map", "1"]}"#);
    assert_eq!(args(&mapped).matches("-map").count(), 1, "the user's own stand");
    let command = composed(json).unwrap();
    assert_eq!(command.secrets, ["secret", "secret"]);
    // Both legs, the stream that is fed, and what watches both inputs.
    assert_eq!(command.kept.len(), 4);
}

#[test]
fn codecs_of_the_user_stand() {
    for (options, video, audio) in [
        (r#""-c", "copy""#, false, false),
        (r#""-c:v", "copy""#, false, true),
        (r#""-vcodec", "libvpx""#, false, true),
        (r#""-codec:a:0", "aac""#, true, false),
        (r#""-an", "-b:v", "1M""#, true, false),
        (r#""-c:0", "copy""#, false, false),
        (r#""-map", "0:v""#, true, true),
    ] {
        let json = format!(r#"{{"id": "p", "whip_ingest": {{}}, "whep_egress": {{"options": [{options}]}}}}"#);
        let args = args(&json);
        assert_eq!((args.contains("libx264"), args.contains("libopus")), (video, audio), "{options}: {args}");
    }
}

#[test]
fn streams_are_outputs_of_a_tee() {
    let json = r#"{"id": "p", "input": [{"address": "a"}], "output": [{"options": ["-f", "tee"],
        "address": "[f=flv]rtmp://x/a\\|b|[onfail=ignore]{whep:live}|{whep:{id}-2}"}]}"#;
    assert_eq!(
        args(json),
        r"-i a -f tee [f=flv]rtmp://x/a\|b|[f=rtsp:timeout=a\:b:onfail=ignore]Rtsp://h/live|[f=rtsp:timeout=a\:b]Rtsp://h/p-2"
    );
    let rtp = json.replace("{whep:live}", "{whep:live,transport=rtp}");
    assert!(composed(&rtp).unwrap_err().contains("goes by RTSP"));
}

#[test]
fn what_cannot_be_had_is_said() {
    for (input, expected) in [
        ("{whip:refused}", "needs --rtsp"),
        ("#other", "input[0].address: begins with # but is no #process:output=id"),
        ("#p:output=x", "input[0].address: refers to the process itself"),
        ("#other:output=x", "input[0].address: there is no process \"other\" with an output \"x\""),
    ] {
        let json = format!(r#"{{"id": "p", "input": [{{"address": "{input}"}}], "output": [{{"address": "-"}}]}}"#);
        assert_eq!(composed(&json).unwrap_err(), expected);
    }
    let json = r#"{"id": "p", "reference": "-i", "input": [{"address": "-"}], "output": [{"address": "{reference}"}]}"#;
    assert_eq!(composed(json).unwrap_err(), "output[0].address: begins with -: FFmpeg takes it for an option");
}

#[tokio::test]
async fn a_process_waits_while_any_of_its_publishers_is_missing() {
    let (senders, receivers): (Vec<_>, Vec<_>) = [true, true].map(watch::channel).into_iter().unzip();
    let (tasks, mut any) = any(receivers);
    assert!(*any.borrow());
    senders[0].send_replace(false);
    senders[1].send_replace(false);
    any.wait_for(|waiting| !waiting).await.unwrap();
    senders[0].send_replace(true);
    any.wait_for(|waiting| *waiting).await.unwrap();
    drop(tasks);
    // Whoever watched is gone: the value stays, and nobody is left to change it.
    assert!(any.changed().await.is_err());
}
