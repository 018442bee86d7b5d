/** An SVG file, as text. */
declare module '*.svg' {
  const value: string;
  export default value;
}
