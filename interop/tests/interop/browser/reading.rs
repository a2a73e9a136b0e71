//! Chromium publishes, and FFmpeg reads.

use std::time::Duration;

use serde_json::Value;
use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::session::SESSIONS;
use crate::readers::kit::{Flash, PATIENCE, Recording, Way, overflowed};

/// Seconds that are recorded.
const RECORDED: u32 = 30;

/// Thirty pictures a second, two of them white at every full second of the audio clock, when a tone begins.
const FILM: &str = "
    const audio = new AudioContext({ sampleRate: 48000 });
    const heard = new MediaStreamAudioDestinationNode(audio);
    const gain = new GainNode(audio, { gain: 0 });
    const tone = new OscillatorNode(audio, { frequency: 1000 });
    tone.connect(gain).connect(heard);
    tone.start();
    const canvas = document.body.appendChild(document.createElement('canvas'));
    [canvas.width, canvas.height] = [640, 360];
    const brush = canvas.getContext('2d');
    const [seen] = canvas.captureStream(0).getVideoTracks();
    let [picture, second] = [0, 1];
    setInterval(() => {
        const now = audio.currentTime;
        for (; second < now + 2; second++) {
            gain.gain.setValueAtTime(0.7, second);
            gain.gain.setValueAtTime(0, second + 0.06);
        }
        // The picture nearest to the second is the first.
        brush.fillStyle = (now + 1 / 60) % 1 < 2 / 30 ? 'white' : '#223';
        brush.fillRect(0, 0, 640, 360);
        brush.fillStyle = '#a44';
        brush.fillRect(picture++ * 7 % 600, 160, 40, 40);
        seen.requestFrame();
    }, 1000 / 30);
    await audio.resume();
    const sound = heard.stream.getAudioTracks()[0];
    window.publisher = await publish('/whip/film', [{ track: seen, codec: 'H264' }, { track: sound, codec: 'opus' }]);";

/// Pictures sent, and when, in seconds; the same of packets of sound.
const SENT: &str = "
    const { video, audio } = await statistics(window.publisher, 'outbound-rtp');
    return [video.framesSent, video.timestamp / 1000, audio.packetsSent, audio.timestamp / 1000];";

/// Seconds of sound in a packet.
const PACKET: f64 = 0.02;

/// By how much the clock of Chromium's sound has left that of its pictures, which on a busy machine it does: there is no sound
/// card to hold it. `sent` are readings of [`SENT`], good to a packet, so this is a packet or two at least.
fn slip(sent: &[Value]) -> f64 {
    let number = |value: &Value| value.as_f64().expect("a number");
    let ahead = sent.iter().map(|now| PACKET * number(&now[2]) - number(&now[3]));
    let (least, most) = ahead.fold((f64::MAX, f64::MIN), |(least, most), ahead| (least.min(ahead), most.max(ahead)));
    most - least
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_records_what_chromium_publishes_with_every_picture_and_lips_in_time() {
    let gateway = Gateway::serve(&[]);
    let browser = Browser::chromium("filmed").await;
    browser.open(&gateway.url("/publish/film")).await;
    browser.evaluate(SESSIONS).await;
    browser.evaluate(FILM).await;
    let sends = "return (await statistics(window.publisher, 'outbound-rtp')).video.framesSent > 60;";
    browser.until("pictures", PATIENCE, sends).await;
    for way in Way::ALL {
        let said = way.probe(&gateway, "film");
        assert!(said.contains("codec_name=h264|width=640|height=360"), "{way:?}: {said}");
        assert!(said.contains("codec_name=opus|sample_rate=48000"), "{way:?}: {said}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let files = Way::ALL.map(|way| folder.path().join(format!("{way:?}.mp4")));
    let begun = browser.evaluate(SENT).await;
    let recorders = Way::ALL.into_iter().zip(&files).map(|(way, file)| way.record(&gateway, "film", RECORDED, file));
    let recorders: Vec<_> = recorders.collect();
    let (mut sent, mut lost) = (vec![begun.clone()], vec![0; recorders.len()]);
    for _ in 0..RECORDED {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sent.push(browser.evaluate(SENT).await);
        for (lost, ffmpeg) in lost.iter_mut().zip(&recorders) {
            *lost = overflowed(ffmpeg).unwrap_or(*lost);
        }
    }
    println!("FFmpeg's own sockets had no room for {lost:?} datagrams ({:?})", Way::ALL);
    let (ended, slip) = (sent[sent.len() - 1].clone(), slip(&sent));
    println!("Chromium's own sound was up to {:.0} ms off its pictures", slip * 1000.0);
    let number = |value: &Value| value.as_f64().expect("a number");
    let rate = (number(&ended[0]) - number(&begun[0])) / (number(&ended[1]) - number(&begun[1]));
    for ((way, ffmpeg), file) in Way::ALL.into_iter().zip(recorders).zip(&files) {
        assert_eq!(ffmpeg.end(PATIENCE).code(), Some(0), "{}", ffmpeg.said());
        let recording = Recording::open(file, &Flash::Everywhere);
        assert!(recording.is_monotonic(), "{way:?}: {:?} {:?}", recording.video, recording.audio);
        let heard = (number(&ended[2]) - number(&begun[2])) / (number(&ended[3]) - number(&begun[3]));
        for (times, rate) in [(&recording.video, rate), (&recording.audio, heard)] {
            let (count, span) = (times.len() as f64, times[times.len() - 1] - times[0]);
            let expected = span * rate + 1.0;
            println!("{way:?}: {count} packets in {span:.2} s, {rate:.2} a second expected");
            assert!((count - expected).abs() <= expected * 0.01, "{way:?}: {count} packets, not {expected}");
            assert!(span > f64::from(RECORDED) - 1.0, "{way:?}: {span} s");
        }
        let (count, earliest, latest) = recording.lips_off_by(slip);
        println!("{way:?}: {count} ticks from {earliest:.1} ms to {latest:.1} ms");
        assert!(count >= RECORDED as usize - 3, "{way:?}: {count} flashes with a tick");
    }
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
