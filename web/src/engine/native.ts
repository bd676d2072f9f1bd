import type {Failure} from '../core/problem';
import {nativeHls, noFacts, type Engine, type EngineEvents} from './engine';

/** HLS as iPhones play it: the browser does all of it, and tells little. */
export function nativeEngine(video: HTMLVideoElement, url: string, events: EngineEvents): Engine {
  const facts = noFacts();
  let gone = false;
  const fail = (failure: Failure) => {
    if (!gone) events.failed(failure);
  };
  const onError = async () => {
    if (video.error?.code === MediaError.MEDIA_ERR_DECODE) return fail({kind: 'decode'});
    if (video.error?.code === MediaError.MEDIA_ERR_NETWORK) return fail({kind: 'network'});
    // The element does not say why: ask the server ourselves.
    const answer = await fetch(url).catch(() => undefined);
    if (!answer) return fail({kind: 'network'});
    fail(answer.ok ? {kind: 'format'} : {kind: 'status', status: answer.status});
  };
  const onEnded = () => fail({kind: 'ended'});
  if (nativeHls()) {
    video.addEventListener('error', onError);
    video.addEventListener('ended', onEnded);
    video.src = url;
  } else {
    queueMicrotask(() => fail({kind: 'unsupported'}));
  }
  return {
    facts,
    destroy: () => {
      gone = true;
      video.removeEventListener('error', onError);
      video.removeEventListener('ended', onEnded);
      video.removeAttribute('src');
      video.load();
    },
  };
}
