// The browser for the API's description. The token in this page's URL, if there is one, goes along as a header field.
"use strict";

const token = new URLSearchParams(location.search).get("token");

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor(request) {
    if (token && !request.headers.Authorization) {
      request.headers.Authorization = `Bearer ${token}`;
    }
    return request;
  },
});
