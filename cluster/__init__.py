"""Ray Train around `ecul.engine.fit`, and EMCC as a remote task."""
