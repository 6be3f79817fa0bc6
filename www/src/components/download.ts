/** Hands a file to the visitor. */
export function download(file: File): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  // The download has the blob by then; a minute is ample.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
