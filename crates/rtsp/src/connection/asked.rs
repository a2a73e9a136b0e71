//! Answers to what the machine asks: they come from the stream's side, and may take their time.

use std::sync::Arc;

use rtsp_types::StatusCode;
use whipstitch_media::Kind;
use whipstitch_plane::random;
use whipstitch_stream::running::Asks;
use whipstitch_stream::{CloseReason, StreamKey};

use super::playing::{self, Playing};
use super::recording::Recording;
use super::{After, Connection, Pending};
use crate::machine::{Announcement, Answer, Begins, ChosenWay, Question, Refusal, SetUp};

impl Connection {
    pub(super) fn find_out(&mut self, question: Question) {
        let shared = Arc::clone(&self.shared);
        let (pending, after): (Pending, After) = match question {
            Question::Describe { stream, asks } => {
                let local = self.local.ip();
                (
                    Box::pin(async move { Answer::Described(shared.describe(&stream, asks, local).await) }),
                    After::Nothing,
                )
            }
            Question::SetUp { session, stream, asks, track, way } => {
                let set_up = self.set_up(session, (stream, asks), track, way);
                (Box::pin(std::future::ready(Answer::SetUp(set_up))), After::Nothing)
            }
            Question::Play { session } => {
                let begun = match self.playing.get_mut(&session) {
                    Some(playing) => {
                        let way = (Arc::clone(&self.media), self.ends.clone());
                        playing.play(&session, self.peer, way)
                    }
                    None => Err(StatusCode::SessionNotFound),
                };
                (Box::pin(async move { Answer::Playing(playing::begun(begun).await) }), After::Begin(session))
            }
            Question::Announce(announcement) => {
                let announced = self.announce(announcement);
                (Box::pin(std::future::ready(Answer::Announced(announced))), After::Nothing)
            }
            Question::Record(recording) => {
                let begun = self.record(&recording);
                (Box::pin(std::future::ready(Answer::Recording(begun))), After::Nothing)
            }
        };
        self.pending = Some((pending, after));
    }

    fn set_up(
        &mut self,
        session: Option<String>,
        (stream, asks): (StreamKey, Asks),
        track: Option<Kind>,
        way: ChosenWay,
    ) -> Result<SetUp, StatusCode> {
        let ends = (self.local, self.peer);
        if let Some(id) = session {
            let playing = self.playing.get_mut(&id).ok_or(StatusCode::SessionNotFound)?;
            return playing.set_up(id, track, way, ends);
        }
        let (id, mut playing) = (random::text(), Playing::reserve(&self.shared, stream, asks)?);
        let set_up = playing.set_up(id.clone(), track, way, ends)?;
        self.playing.insert(id, playing);
        Ok(set_up)
    }

    fn announce(&mut self, announcement: Announcement) -> Result<String, Refusal> {
        // The place of what was announced before is given back first: it may be the same.
        if let Some(before) = self.recording.take() {
            before.end(CloseReason::ByRequest);
        }
        let recording = Recording::announce(&self.shared, announcement)?;
        Ok(self.recording.insert(recording).id.clone())
    }

    fn record(&mut self, begins: &Begins) -> Result<(), Refusal> {
        let way = (Arc::clone(&self.media), self.ends.clone());
        let recording = self.recording.take_if(|recording| recording.id == begins.session);
        let mut recording = recording.ok_or(StatusCode::SessionNotFound)?;
        recording.begin(&begins.tracks, self.peer, way)?;
        self.recording = Some(recording);
        Ok(())
    }
}
