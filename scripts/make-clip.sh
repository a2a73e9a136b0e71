#!/bin/sh
# Makes the clip of the built-in test source: crates/client/assets/clip.h264 (Annex B with access unit delimiters) and
# crates/client/assets/clip.opus (Ogg). Needs ffmpeg with libx264 and libopus, and the DejaVu fonts
# (Debian: apt-get install ffmpeg fonts-dejavu-core). The output is committed; run this only to change the picture.
#
# What the clip promises to crates/client/src/clip.rs, whose tests check it:
#   - 10 s, 1280x720 at 30 fps, constrained baseline, no B-frames, one slice a picture, an IDR with SPS and PPS every
#     second, so that the last picture can be followed by the first;
#   - 500 Opus packets of 20 ms;
#   - every full second a white box flashes for two pictures and a tick sounds at the same instant. The tone is written
#     312 samples early, which is libopus's own delay, so that what a decoder puts out sounds on the second.
set -eu

cd "$(dirname "$0")/../crates/client/assets"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bold=/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf
mono=/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf
seconds=10
frames=$((seconds * 30))

# The frame number in binary, most significant bit first, for tools that read the picture: nine cells, lit for one.
cells=""
bit=0
while [ $bit -lt 9 ]; do
  x=$((64 + (8 - bit) * 44))
  cells="$cells,drawbox=x=$x:y=500:w=36:h=36:color=0x2b3442:t=fill"
  cells="$cells,drawbox=x=$x:y=500:w=36:h=36:color=0xf2c14e:t=fill:enable='gt(bitand(n,$((1 << bit))),0)'"
  bit=$((bit + 1))
done

# Colour bars: white yellow cyan green magenta red blue, each 1280/7 wide.
bars=""
index=0
for colour in 0xe8e8e8 0xd8c93a 0x3ac4cf 0x45b649 0xc04bb4 0xd0413c 0x3b5bd0; do
  bars="$bars,drawbox=x=$((index * 1280 / 7)):y=640:w=184:h=80:color=$colour:t=fill"
  index=$((index + 1))
done

text() { # file, size, colour, x, y, what
  printf ",drawtext=fontfile=%s:fontsize=%s:fontcolor=%s:x=%s:y=%s:expansion=normal:text='%s'" "$@"
}

picture="drawbox=x=0:y=0:w=1280:h=8:color=0xf2c14e:t=fill$bars"
picture="$picture$(text $bold 64 0xffffff 60 64 'Whipstitch demo')"
picture="$picture$(text $bold 26 0x9aa7b8 64 148 'built-in test source   H.264 + Opus   1280x720   30 fps')"
picture="$picture$(text $mono 112 0xffffff 60 232 '%{eif\:floor(n/30)\:d\:2}.%{eif\:floor(mod(n,30)*100/30)\:d\:2} s')"
picture="$picture$(text $mono 64 0xf2c14e 64 390 'frame %{eif\:n\:d\:3}')"
picture="$picture$cells"
# The flash that goes with the tick.
picture="$picture,drawbox=x=540:y=470:w=180:h=96:color=0x2b3442:t=fill"
picture="$picture,drawbox=x=540:y=470:w=180:h=96:color=0xffffff:t=fill:enable='lt(mod(n,30),2)'"
picture="$picture$(text $bold 24 0x9aa7b8 600 510 'tick')"

# A dial: one turn of the long hand is a second, one of the short hand is the whole clip. geq draws it once.
ring="if(between(hypot(X-180,Y-180),164,174),255,if(lt(hypot(X-180,Y-180),10),255,0))"
marks="if(between(hypot(X-180,Y-180),146,160)*lt(abs(mod(atan2(Y-180,X-180)+2*PI,PI/5)-PI/10),PI/10)*gt(abs(mod(atan2(Y-180,X-180)+2*PI+PI/10,PI/5)-PI/10),PI/10-0.03),255,0)"
face="color=c=0x9aa7b8:s=360x360:r=30,format=yuva444p,geq=lum='lum(X,Y)':cb='cb(X,Y)':cr='cr(X,Y)':a='max($ring,$marks)',trim=end_frame=1,loop=-1:1"
hand() { # colour, half width, length, turns per second
  printf "color=c=%s:s=360x360:r=30,format=yuva444p,geq=lum='lum(X,Y)':cb='cb(X,Y)':cr='cr(X,Y)':a='if(lt(abs(X-180),%s)*between(Y,180-%s,190),255,0)',trim=end_frame=1,loop=-1:1,rotate=a='2*PI*n/30*%s':c=none:bilinear=1" "$@"
}
ball="color=c=0xff7a59:s=48x48:r=30,format=yuva444p,geq=lum='lum(X,Y)':cb='cb(X,Y)':cr='cr(X,Y)':a='clip((24-hypot(X-23.5,Y-23.5))*255,0,255)',trim=end_frame=1,loop=-1:1"

ffmpeg -y -loglevel error -filter_complex "
  color=c=0x141a22:s=1280x720:r=30,format=yuv444p,$picture[ground];
  $face[face];
  $(hand 0xffffff 5 100 1/$seconds)[short];
  $(hand 0xf2c14e 3 150 1)[long];
  $ball[ball];
  [ground][face]overlay=x=840:y=150:format=yuv444:shortest=0[a];
  [a][short]overlay=x=840:y=150:format=yuv444[b];
  [b][long]overlay=x=840:y=150:format=yuv444[c];
  [c][ball]overlay=x='616-552*cos(2*PI*n/150)':y=576:format=yuv444,setpts=N/30/TB,format=yuv420p[out]" \
  -map '[out]' -frames:v "$frames" -r 30 -fps_mode cfr \
  -c:v libx264 -profile:v baseline -level 3.1 -preset veryslow -tune animation -crf 24 -threads 1 \
  -x264-params "keyint=30:min-keyint=30:scenecut=0:bframes=0:ref=1:slices=1:aud=1:repeat-headers=1:vbv-maxrate=1500:vbv-bufsize=1500" \
  -pix_fmt yuv420p -color_range tv -colorspace bt709 -color_primaries bt709 -color_trc bt709 \
  -bsf:v filter_units=remove_types=6 -f h264 "$work/clip.h264"

# Ticks are 60 ms of 1 kHz, the first of the clip an octave higher, over a very soft chord that makes drop-outs heard.
# Every tone turns a whole number of times in the clip. Three turns are encoded and the middle one kept, so that
# the encoder's state at the end of the clip is the one at its start.
tick="0.5*lt(mod(t+0.0065,1),0.06)*sin(2*PI*if(lt(mod(t+0.0065,$seconds),1),2000,1000)*(t+0.0065))*(1-mod(t+0.0065,1)/0.06)"
chord="0.012*(sin(2*PI*220*t)+sin(2*PI*277.2*t)+sin(2*PI*329.6*t))"
ffmpeg -y -loglevel error -f lavfi -i "aevalsrc='$tick+$chord':s=48000:c=mono:d=$((seconds * 3))" \
  -c:a libopus -b:a 40k -vbr on -application audio -frame_duration 20 "$work/long.opus"
ffmpeg -y -loglevel error -ss "$seconds" -i "$work/long.opus" -frames:a 500 -c:a copy "$work/clip.opus"

mv "$work/clip.h264" "$work/clip.opus" .
ls -l clip.h264 clip.opus
