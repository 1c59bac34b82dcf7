// The ceiling of any Worker: no check at all.
export default {
  fetch(request, env) {
    const url = new URL(request.url);
    return env.ORIGIN.fetch(new Request(`http://origin${url.pathname}${url.search}`, request));
  },
};
