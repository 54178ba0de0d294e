// It asks no one about the document, and keeps no key that was typed.
window.onload = () => SwaggerUIBundle({
  url: "openapi.json", dom_id: "#reference", validatorUrl: null, persistAuthorization: false, deepLinking: true,
});
